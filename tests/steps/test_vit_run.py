"""A ViT as the backbone of a run, from tags to ONNX, with a tiny random network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm

from small_runs import one_rank, prepared, recipe, write_photos
from tag2mask.errors import RecipeError
from tag2mask.evaluation.records import maps_name
from tag2mask.nn.model_file import read_spec
from tag2mask.seam.model import SEAM_KIND, load_seam
from tag2mask.steps.affinity_labels import affinity_labels
from tag2mask.steps.infer_cam import infer_cam
from tag2mask.steps.train_affinity import train_affinity
from tag2mask.steps.train_cam import train_cam
from tag2mask.steps.walk import walk


@pytest.mark.parametrize("behavior", ["default", "published"])
def test_a_vit_of_patch_14_gives_maps_and_affinities(
    behavior: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create = timm.create_model
    small = {"depth": 3, "embed_dim": 24, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: create(*a, **small, **o))
    name = "vit_small_patch14_reg4_dinov2"
    settings = recipe(
        train_cam__backbone={"name": name, "weights": "none"},
        train_cam__behavior=behavior,
        train_cam__pooling="max" if behavior == "default" else "avg",
        infer_cam__behavior=behavior,
        walk__behavior=behavior,
        affinity_labels__threshold_from="estimated",
        walk__threshold_from="estimated",
    )
    data, runtime = prepared(write_photos(tmp_path / "photos", 4), tmp_path / "data"), one_rank()
    model = train_cam(data, settings.train_cam, tmp_path / "cam", runtime)
    printed = capsys.readouterr().err
    assert f"{name}: output stride 14" in printed
    assert "train_cam.crop: crops of 70 px, not 64: multiples of 14 px" in printed
    assert "train_cam.views.size_multiple: 42 px, not 32: multiples of 14 px" in printed
    assert read_spec(model.file, SEAM_KIND).output_stride == 14
    net, _ = load_seam(model.file)
    assert net.backbone.size_multiple == 14
    maps = infer_cam(data, model, settings.infer_cam, tmp_path / "maps", runtime)
    rounded = "infer_cam.long_side: 70 px, not 64: multiples of 14 px"
    assert (rounded in capsys.readouterr().err) == (behavior == "default")
    labels = affinity_labels(data, maps, settings.affinity_labels, tmp_path / "labels", runtime)
    affinity = train_affinity(data, labels, settings.train_affinity, tmp_path / "aff", runtime)
    assert "train_affinity.crop: crops of 70 px" in capsys.readouterr().err
    assert np.isfinite(affinity.manifest.metrics["loss"])
    walked = walk(data, maps, affinity, settings.walk, tmp_path / "walk", runtime)
    rounded = "walk.long_side: 70 px, not 64: multiples of 14 px"
    assert (rounded in capsys.readouterr().err) == (behavior == "default")
    assert walked.manifest.counts["photos"] == maps.manifest.counts["photos"] == 4


def test_maps_are_spread_along_the_attention_of_a_vit_only(tmp_path: Path) -> None:
    data, runtime = prepared(write_photos(tmp_path / "photos", 4), tmp_path / "data"), one_rank()
    for name in ("test_vit", "test_efficientnet"):
        settings = recipe(
            train_cam__backbone={"name": name, "weights": "none"},
            train_cam__pcm={"enabled": False},
            train_cam__losses={},
            train_cam__max_steps=1,
            infer_cam__branch="attention",
        )
        model = train_cam(data, settings.train_cam, tmp_path / name, runtime)
        if name == "test_vit":
            maps = infer_cam(data, model, settings.infer_cam, tmp_path / "maps", runtime)
            assert maps.manifest.metrics["branch"] == "attention"
            assert maps_name(maps.manifest.metrics) == "CAM + attention"
        else:
            with pytest.raises(RecipeError, match=r"no ViT.*infer_cam\.branch"):
                infer_cam(data, model, settings.infer_cam, tmp_path / "other", runtime)
    with pytest.raises(RecipeError, match=r"nor are those spread by attention"):
        recipe(infer_cam__branch="attention", infer_cam__tile=64)
