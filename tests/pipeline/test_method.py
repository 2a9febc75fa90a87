"""The method, step by step: which networks a step is handed."""

from __future__ import annotations

from pathlib import Path

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import CamModel, SegmenterModel
from tag2mask.pipeline.dry_run import dry_run
from tag2mask.pipeline.status import status
from tag2mask.recipe.loading import load_recipe


def test_the_encoder_starts_from_the_cam_network_of_the_run(tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "run"
    settings = write_recipe(
        tmp_path / "small.yaml",
        walk__enabled=False,
        train_segmenter__network__weights="cam",
        train_segmenter__max_steps=1,
    )
    command = ("run", "--data", photos, "--out", out, "--recipe", settings)
    result = invoke(*command, "--until", "train-segmenter")
    assert result.exit_code == 0, result.output
    network, cam = SegmenterModel.open(out / "train-segmenter"), CamModel.open(out / "train-cam")
    assert network.manifest.inputs["cam"].fingerprint == cam.fingerprint
    made = {found.step: found.folder.state for found in status(out)}
    assert made["train-segmenter"] == "fresh"
    planned = dry_run(photos, load_recipe(out / "recipe.yaml"), out)
    actions = {step.step: step.action for step in planned.steps}
    assert actions["train-cam"] == actions["train-segmenter"] == "skip"
