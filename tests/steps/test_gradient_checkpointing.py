"""Gradient checkpointing in training: the same networks, and where it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
from segmenter_scenes import mask_drawer

from small_runs import one_rank, recipe, trained
from tag2mask.artifacts.handles import CamModel, PreparedData
from tag2mask.errors import RecipeError
from tag2mask.nn import gradient_checkpointing
from tag2mask.pipeline.estimates import estimate
from tag2mask.recipe.loading import load_recipe, recipe_from
from tag2mask.steps.train_segmenter import train_segmenter
from tag2mask.steps.trainers.training import checkpointing_switch
from tag2mask.steps.trainers.trial_networks import try_network


def written(folder: Path) -> tuple[bytes, int]:
    """Return the model's content, and the time when its training ended."""
    model, manifest = folder / "model.safetensors", folder / "manifest.json"
    return model.read_bytes(), manifest.stat().st_mtime_ns


@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet"])
def test_the_cam_network_is_the_same(data: PreparedData, tmp_path: Path, backbone: str) -> None:
    settings: dict[str, Any] = {
        "train_cam__backbone": {"name": backbone, "weights": "none"},
        "train_cam__warm_start": 1,
    }
    usual = trained(data, tmp_path / "usual", **settings)
    less = trained(data, tmp_path / "less", **settings, train_cam__gradient_checkpointing=True)
    assert written(less.path)[0] == written(usual.path)[0]
    before = written(usual.path)
    trained(data, tmp_path / "usual", **settings, train_cam__gradient_checkpointing=True)
    assert written(usual.path) == before  # the setting may differ


def test_the_segmentation_network_is_the_same(data: PreparedData, tmp_path: Path) -> None:
    masks, found = mask_drawer(data, tmp_path / "pseudo-masks"), []
    for enabled in (False, True):
        section = recipe(train_segmenter__gradient_checkpointing=enabled).train_segmenter
        out = tmp_path / str(enabled)
        found.append(written(train_segmenter(data, masks, section, out, one_rank()).path)[0])
    assert found[0] == found[1]


def test_training_asks_timm_for_it(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(model: Any, run: Any, *, where: str) -> None:
        gradient_checkpointing.checkpoint_gradients(model, run, where=where)
        assert model.grad_checkpointing
        asked.append(where)

    for name in ("cam_task", "segmenter_task"):
        monkeypatch.setattr(f"tag2mask.steps.trainers.{name}.checkpoint_gradients", ask)
    trained(
        data,
        tmp_path / "cam",
        train_cam__backbone={"name": "test_vit", "weights": "none"},
        train_cam__gradient_checkpointing=True,
    )
    section = recipe(train_segmenter__gradient_checkpointing=True).train_segmenter
    masks = mask_drawer(data, tmp_path / "pseudo-masks")
    train_segmenter(data, masks, section, tmp_path / "net", one_rank())
    assert asked == ["train_cam.gradient_checkpointing", "train_segmenter.gradient_checkpointing"]


def test_a_network_without_it_is_refused_at_the_start_of_a_run(tmp_path: Path) -> None:
    changes = {"backbone": {"name": "dla46_c", "weights": "none", "output_stride": 32}}
    for enabled in (False, True):
        changed = recipe_from({"train_cam": {**changes, "gradient_checkpointing": enabled}})
        if not enabled:
            try_network(CamModel, changed, tmp_path, cam_due=True)
            continue
        with pytest.raises(RecipeError, match=r"train_cam: timm can't compute the activations"):
            try_network(CamModel, changed, tmp_path, cam_due=True)


def test_it_is_named_where_it_would_save_memory() -> None:
    model = timm.create_model("test_efficientnet", features_only=True)
    for name in ("train_cam", "train_segmenter"):
        section = getattr(recipe(), name)
        assert checkpointing_switch(section, model) == f"{name}.gradient_checkpointing"
        assert checkpointing_switch(section, None) is None
        for change in ({"gradient_checkpointing": True}, {"freeze_batch_norm": False}):
            assert checkpointing_switch(section.model_copy(update=change), model) is None


@pytest.mark.parametrize("section", ["train_cam", "train_segmenter"])
def test_the_estimate_of_the_memory_is_lower(section: str) -> None:
    def memory(*settings: str) -> float:
        recipe = load_recipe("lite2-gpu", settings)
        return estimate(recipe, train=100, val=0, gpu=True)[section.replace("_", "-")].memory_mib

    less = memory(f"{section}.gradient_checkpointing=true")
    assert 0.4 * memory() < less < 0.8 * memory()


@pytest.mark.parametrize("section", ["train_cam", "train_segmenter"])
def test_batch_norms_in_training_are_refused(section: str) -> None:
    settings = [f"{section}.gradient_checkpointing=true", f"{section}.freeze_batch_norm=false"]
    load_recipe("lite0-cpu", settings[:1])
    with pytest.raises(RecipeError, match=rf"set {section}\.freeze_batch_norm=true"):
        load_recipe("lite0-cpu", settings)
