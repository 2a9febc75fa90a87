"""A trained network by its path, and what is said of paths that lead to none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from onnx_file import write_network
from tag2mask.artifacts.handles import CamModel, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import DeviceError, RunFolderError, Tag2MaskError, WeightsError
from tag2mask.seam.network import SeamSpec, build_seam, save_seam
from tag2mask.segmentation.loading import open_segmenter, segmenter_file
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter

SPEC = SegmenterSpec(("cat", "dog"), "unet", "test_efficientnet", 32, 96)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with nothing but a segmenter and a CAM network."""
    root = tmp_path_factory.mktemp("run")
    with step_folder(SegmenterModel, root / "train-segmenter", section={}) as step:
        save_segmenter(step.path / "model.safetensors", build_segmenter(SPEC), SPEC)
        step.finish()
    with step_folder(CamModel, root / "train-cam", section={}) as step:
        cam = SeamSpec(classes=("cat", "dog"), backbone="test_efficientnet", output_stride=16)
        save_seam(step.path / "model.safetensors", build_seam(cam), cam)
        step.finish()
    return root


def test_a_run_its_folder_and_its_file_are_the_same(run: Path) -> None:
    folder = run / "train-segmenter"
    file = folder / "model.safetensors"
    assert {segmenter_file(path) for path in (run, folder, file)} == {file}
    segmenter = open_segmenter(run, device="cpu", precision="32", caller_threads=3)
    assert segmenter.classes.names == ("cat", "dog")
    assert (segmenter.long_side, segmenter.caller_threads, segmenter.batched) == (96, 3, False)


def test_all_cores_are_kept_busy(run: Path) -> None:
    assert open_segmenter(run, device="cpu").caller_threads == min(torch.get_num_threads(), 8)


def refusal(path: Path, kind: type[Tag2MaskError]) -> str:
    with pytest.raises(kind) as refused:
        open_segmenter(path, device="cpu")
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_run_without_a_segmenter(run: Path, tmp_path: Path) -> None:
    assert "no train-segmenter in this folder" in refusal(tmp_path, RunFolderError)
    (tmp_path / "train-segmenter").mkdir()
    with pytest.raises(RunFolderError, match="not a train-segmenter folder"):
        open_segmenter(tmp_path)
    assert "this folder holds train-cam, not train-segmenter" in refusal(
        run / "train-cam", RunFolderError
    )


def test_a_segmenter_that_is_still_trained(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        step_folder(SegmenterModel, tmp_path / "train-segmenter", section={}),
    ):
        raise KeyboardInterrupt
    with pytest.raises(RunFolderError, match="train-segmenter is unfinished"):
        open_segmenter(tmp_path)


def test_files_that_are_no_segmenter(run: Path, tmp_path: Path) -> None:
    assert "no such model" in refusal(tmp_path / "gone.safetensors", WeightsError)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    assert "'.jpg' is no kind of model file" in refusal(photo, WeightsError)
    cam = refusal(run / "train-cam" / "model.safetensors", WeightsError)
    assert "this is a CAM model, not a segmentation network" in cam
    text = tmp_path / "model.safetensors"
    text.write_text("no model")
    assert "not a model file, or cut off" in refusal(text, WeightsError)
    whole = (run / "train-segmenter" / "model.safetensors").read_bytes()
    text.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in refusal(text, WeightsError)


def test_a_network_that_is_not_finite(tmp_path: Path) -> None:
    net = build_segmenter(SPEC)
    with torch.no_grad():
        next(net.parameters())[0] = torch.nan
    save_segmenter(tmp_path / "model.safetensors", net, SPEC)
    message = refusal(tmp_path / "model.safetensors", WeightsError)
    assert "aren't finite" in message and "train_segmenter.optimizer.lr" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(run: Path) -> None:
    with pytest.raises(DeviceError, match="no cuda device"):
        open_segmenter(run, device="cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", ""])
def test_a_device_that_is_none(run: Path, name: str) -> None:
    with pytest.raises(DeviceError, match=r"no device|no cuda|found"):
        open_segmenter(run, device=name)


@pytest.mark.parametrize(
    "wish", [{"device": "cuda"}, {"device": "banana"}, {"device": "cuda:1"}, {"precision": "bf16"}]
)
def test_onnx_is_computed_on_the_cpu_alone(tmp_path: Path, wish: dict[str, Any]) -> None:
    file = write_network(tmp_path / "model.onnx")
    open_segmenter(file, device="cpu", precision="32")
    with pytest.raises(DeviceError, match=r"ONNX is computed on the CPU.*model\.onnx"):
        open_segmenter(file, **wish)
