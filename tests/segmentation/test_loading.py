"""Opening a trained network by path, and errors for other paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from onnx_file import write_network
from tag2mask.artifacts.handles import CamModel, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import DeviceError, RunFolderError, Tag2MaskError, WeightsError
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, save_seam
from tag2mask.segmentation.loading import open_segmenter, segmenter_file
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter

SPEC = SegmenterSpec(("cat", "dog"), "unet", "test_efficientnet", 32, 96, decoder_channels=None)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with only a segmentation network and a CAM network."""
    root = tmp_path_factory.mktemp("run")
    with step_folder(SegmenterModel, root / "train-segmenter", section={}) as step:
        save_segmenter(step.path / "model.safetensors", build_segmenter(SPEC), SPEC)
        step.finish()
    with step_folder(CamModel, root / "train-cam", section={}) as step:
        cam = replace(
            OFFICIAL_SEAM, classes=("cat", "dog"), backbone="test_efficientnet", output_stride=16
        )
        save_seam(step.path / "model.safetensors", build_seam(cam), cam)
        step.finish()
    return root


def test_run_step_folder_and_file(run: Path) -> None:
    folder = run / "train-segmenter"
    file = folder / "model.safetensors"
    assert {segmenter_file(path) for path in (run, folder, file)} == {file}
    segmenter = open_segmenter(run, device="cpu", precision="32", caller_threads=3)
    assert segmenter.classes.names == ("cat", "dog")
    assert (segmenter.long_side, segmenter.caller_threads, segmenter.batched) == (96, 3, False)


def test_default_number_of_callers(run: Path) -> None:
    assert open_segmenter(run, device="cpu").caller_threads == min(torch.get_num_threads(), 8)


def open_error(path: Path, kind: type[Tag2MaskError]) -> str:
    with pytest.raises(kind) as error:
        open_segmenter(path, device="cpu")
    assert str(path) in str(error.value)
    return str(error.value)


def test_run_without_a_segmentation_network(run: Path, tmp_path: Path) -> None:
    assert "no train-segmenter in this folder" in open_error(tmp_path, RunFolderError)
    (tmp_path / "train-segmenter").mkdir()
    with pytest.raises(RunFolderError, match="not a train-segmenter folder"):
        open_segmenter(tmp_path)
    assert "this folder holds train-cam, not train-segmenter" in open_error(
        run / "train-cam", RunFolderError
    )


def test_unfinished_training(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        step_folder(SegmenterModel, tmp_path / "train-segmenter", section={}),
    ):
        raise KeyboardInterrupt
    with pytest.raises(RunFolderError, match="train-segmenter is unfinished"):
        open_segmenter(tmp_path)


def test_other_files(run: Path, tmp_path: Path) -> None:
    assert "no such model" in open_error(tmp_path / "gone.safetensors", WeightsError)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    assert "'.jpg' isn't a kind of model file" in open_error(photo, WeightsError)
    cam = open_error(run / "train-cam" / "model.safetensors", WeightsError)
    assert "this is a CAM model, not a segmentation network" in cam
    text = tmp_path / "model.safetensors"
    text.write_text("no model")
    assert "not a model file, or cut off" in open_error(text, WeightsError)
    whole = (run / "train-segmenter" / "model.safetensors").read_bytes()
    text.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in open_error(text, WeightsError)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    net = build_segmenter(SPEC)
    with torch.no_grad():
        next(net.parameters())[0] = torch.nan
    save_segmenter(tmp_path / "model.safetensors", net, SPEC)
    message = open_error(tmp_path / "model.safetensors", WeightsError)
    assert "aren't finite" in message and "train_segmenter.optimizer.lr" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_missing_device(run: Path) -> None:
    with pytest.raises(DeviceError, match="no cuda device"):
        open_segmenter(run, device="cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", ""])
def test_invalid_device(run: Path, name: str) -> None:
    with pytest.raises(DeviceError, match=r"no device|no cuda|found"):
        open_segmenter(run, device=name)


@pytest.mark.parametrize(
    "wish", [{"device": "cuda"}, {"device": "banana"}, {"device": "cuda:1"}, {"precision": "bf16"}]
)
def test_onnx_only_runs_on_the_cpu(tmp_path: Path, wish: dict[str, Any]) -> None:
    file = write_network(tmp_path / "model.onnx")
    open_segmenter(file, device="cpu", precision="32")
    with pytest.raises(DeviceError, match=r"ONNX network runs on the CPU.*model\.onnx"):
        open_segmenter(file, **wish)
