"""The recipes of ViTs, from tags to ONNX on a CPU, with tiny random networks of the same kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import timm

from small_runs import invoke, write_photos
from tag2mask.artifacts.handles import AffinityModel, CamModel
from tag2mask.nn.model_file import read_spec
from tag2mask.recipe.loading import load_recipe
from tag2mask.seam.model import SEAM_KIND

SMALL = (
    "train_cam.max_steps=2",
    "train_cam.batch_size=2",
    "train_cam.crop=64",
    "train_cam.long_side=[48, 80]",
    "train_cam.backbone.weights=none",
    "train_affinity.backbone.weights=none",
    "infer_cam.long_side=64",
    "train_affinity.max_steps=2",
    "train_affinity.batch_size=2",
    "train_affinity.crop=64",
    "train_affinity.long_side=[48, 80]",
    "walk.long_side=64",
    "affinity_labels.crf.iterations=1",
    "train_segmenter.network.encoder=test_efficientnet",
    "train_segmenter.network.weights=none",
    "train_segmenter.network.output_stride=16",
    "train_segmenter.max_steps=2",
    "train_segmenter.batch_size=2",
    "train_segmenter.crop=64",
    "train_segmenter.long_side=64",
    "predict.scales=[1.0]",
    "report.photos=1",
    "runtime.device=cpu",
    "runtime.workers=0",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "stride", "crop"),
    [("deit-s-gpu", 16, 64), ("dinov2-s-gpu", 14, 70), ("dinov3-s-gpu", 16, 64)],
)
def test_a_vit_recipe_runs_up_to_onnx(
    recipe: str, stride: int, crop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, name = timm.create_model, load_recipe(recipe).train_cam.backbone.name
    sizes = {"depth": 3, "embed_dim": 24, "num_heads": 2}

    def small(model: str, **options: Any) -> Any:
        return create(model, **options, **(sizes if model == name else {}))

    monkeypatch.setattr(timm, "create_model", small)
    run = tmp_path / "run"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    photos = write_photos(tmp_path / "photos", 8, masks=True)
    done = invoke("run", "--data", photos, "--recipe", recipe, "--out", run, *settings)
    assert done.exit_code == 0, done.stderr
    assert f"{name}: output stride {stride}" in done.stderr
    rounded = f"train_cam.crop: crops of {crop} px, not 64"
    assert (rounded in done.stderr) == (crop != 64)
    model = CamModel.open(run / "train-cam")
    assert read_spec(model.file, SEAM_KIND).output_stride == stride
    assert AffinityModel.open(run / "train-affinity").manifest.metrics["steps"] == 2
    done = invoke("export", run, "--out", tmp_path / "exported", "--format", "onnx")
    assert done.exit_code == 0, done.stderr
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    assert session.get_outputs()[0].shape[1] == 4  # background and three classes
