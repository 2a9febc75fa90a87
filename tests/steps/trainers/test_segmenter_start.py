"""What the segmentation network starts from: the weights of the CAM network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from segmenter_scenes import mask_drawer

from small_runs import invoke, one_rank, recipe, trained, write_recipe
from tag2mask.artifacts.handles import CamModel, PreparedData, PseudoMaskFolder, SegmenterModel
from tag2mask.errors import RecipeError, RunFolderError
from tag2mask.steps.train_segmenter import train_segmenter


@pytest.fixture
def masks(data: PreparedData, tmp_path: Path) -> PseudoMaskFolder:
    return mask_drawer(data, tmp_path / "pseudo-masks")


@pytest.fixture
def cam(data: PreparedData, tmp_path: Path) -> CamModel:
    return trained(data, tmp_path / "train-cam")


def train(
    data: PreparedData, masks: PseudoMaskFolder, out: Path, cam: CamModel | None, **changes: Any
) -> SegmenterModel:
    settings: dict[str, Any] = {
        "train_segmenter__network__weights": "cam",
        "train_segmenter__max_steps": 1,
        "train_segmenter__optimizer": {"lr": 1e-12, "weight_decay": 0.0},
    }
    section = recipe(**settings | changes).train_segmenter
    return train_segmenter(data, masks, section, out, one_rank(), cam)


def encoder(model: SegmenterModel) -> dict[str, torch.Tensor]:
    """Return the convolutions of the encoder under their names in timm."""
    tensors = load_file(model.file)
    start = ".encoder.model."
    return {
        name.split(start)[1]: tensor
        for name, tensor in tensors.items()
        if start in name and tensor.ndim == 4
    }


def test_the_encoder_starts_from_the_cam_network(
    data: PreparedData, masks: PseudoMaskFolder, cam: CamModel, tmp_path: Path
) -> None:
    model = train(data, masks, tmp_path / "model", cam)
    found, backbone = encoder(model), load_file(cam.file)
    assert len(found) > 10
    for name, tensor in found.items():
        assert torch.allclose(tensor, backbone[f"backbone.net.{name}"], atol=1e-6), name
    assert model.manifest.inputs["cam"].fingerprint == cam.fingerprint
    drawn = encoder(
        train(data, masks, tmp_path / "none", None, train_segmenter__network__weights="none")
    )
    assert not torch.allclose(drawn["conv_stem.weight"], found["conv_stem.weight"], atol=1e-3)


def test_another_cam_network_is_another_start(
    data: PreparedData, masks: PseudoMaskFolder, cam: CamModel, tmp_path: Path
) -> None:
    train(data, masks, tmp_path / "model", cam)
    other = trained(data, tmp_path / "other", train_cam__seed=1)
    with pytest.raises(RunFolderError, match="cam"):
        train(data, masks, tmp_path / "model", other)


def test_without_a_cam_network_there_is_nothing_to_start_from(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"network\.weights.*--cam"):
        train(data, masks, tmp_path / "model", None)
    assert not (tmp_path / "model").exists()


def test_a_trained_network_comes_before_the_cam_network(
    data: PreparedData, masks: PseudoMaskFolder, cam: CamModel, tmp_path: Path
) -> None:
    first = train(data, masks, tmp_path / "first", cam)
    init = str(first.file)
    model = train(data, masks, tmp_path / "next", None, train_segmenter__init_from=init)
    assert "cam" not in model.manifest.inputs and "init_from" in model.manifest.inputs


def test_the_command_takes_the_cam_network(
    data: PreparedData, masks: PseudoMaskFolder, cam: CamModel, tmp_path: Path
) -> None:
    settings = write_recipe(
        tmp_path / "recipe.yaml",
        train_segmenter__max_steps=1,
        train_segmenter__network__weights="cam",
    )
    line = ("train-segmenter", "--data", data.path, "--masks", masks.path, "--recipe", settings)
    without = invoke(*line, "--out", tmp_path / "model")
    assert without.exit_code == 1 and "--cam" in without.stderr
    result = invoke(*line, "--out", tmp_path / "model", "--cam", cam.path)
    assert result.exit_code == 0, result.stderr
    assert "cam" in SegmenterModel.open(tmp_path / "model").manifest.inputs
    own = ("--set", "train_segmenter.network.weights=none")
    unused = invoke(*line, *own, "--out", tmp_path / "none", "--cam", cam.path)
    assert unused.exit_code == 2 and "no effect" in unused.stderr
