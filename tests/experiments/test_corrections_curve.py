"""The experiment's points: which are due, what is drawn, what a training of each gives."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.experiments import corrections_curve
from benchmarks.experiments.corrections_curve import (
    Point,
    cam_model,
    chosen_photos,
    draw,
    points,
    scored_points,
)
from reviewed_run import reviewed_run

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import AffinityLabels, AffinityModel, SegmenterModel
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.index import read_mask_paths
from tag2mask.data.masks import read_mask


def test_points_are_named_once_and_skipped_when_scored(tmp_path: Path) -> None:
    options = argparse.Namespace(
        run=tmp_path / "r", photos="0,20", choices="ask,random", seeds="0,1", settings=["a.b=1"]
    )
    found = points(options)
    assert len(found) == 6  # k = 0 has no choice and no settings
    rows = tmp_path / "rows.jsonl"
    assert scored_points(rows) == set()
    first = found[1]
    row = {**first.__dict__, "miou": 1.0}
    rows.write_text(json.dumps(row) + "\n")
    assert scored_points(rows) == {first}
    assert len({point.name for point in found}) == 6


def test_a_run_without_a_cam_network_has_that_of_its_encoder(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    recipe = write_recipe(
        tmp_path / "recipe.yaml", train_segmenter__network={"weights": str(weights)}
    )
    assert cam_model(recipe.parent) == weights
    own = tmp_path / "train-cam" / "model.safetensors"
    own.parent.mkdir()
    own.touch()
    assert cam_model(recipe.parent) == own


def test_ground_truth_stands_for_drawn_masks(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 24, masks=True)
    run = reviewed_run(tmp_path)
    for choice in ("ask", "random"):
        point = Point("run", choice, 5, 0, ())
        chosen = chosen_photos(point, run, tmp_path / "work")
        assert len(set(chosen)) == 5
        assert chosen_photos(point, run, tmp_path / "work") == chosen
        draw(run, chosen, tmp_path / choice)
        draw(run, chosen, tmp_path / choice)  # resumed
        found = read_corrections(tmp_path / choice)
        assert set(found.masks()) == set(chosen)
        truths = read_mask_paths(run / "prepare")
        for photo, mask in found.masks().items():
            assert (read_mask(mask, 3) == read_mask(truths[photo], 3)).all()


@pytest.mark.slow
def test_points_are_trained_scored_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, run = write_photos(tmp_path / "photos", 24, masks=True), tmp_path / "run"
    fixed = {"threshold_from": "fixed", "background_threshold": 0.0}
    settings = write_recipe(tmp_path / "recipe.yaml", pseudo_masks=fixed)
    assert invoke("run", "--data", photos, "--out", run, "--recipe", settings).exit_code == 0
    own = json.loads((run / "evaluate" / "manifest.json").read_text())["metrics"]["val"]
    rows, work = tmp_path / "rows.jsonl", tmp_path / "work"

    def curve(seeds: str) -> list[dict[str, Any]]:
        words = ["x", str(run), "--data", str(photos), "--work", str(work), "--rows", str(rows)]
        words += ["--photos", "0,4", "--seeds", seeds]
        for change in ("affinity_labels.use_drawn=true", "train_segmenter.loss_stride=2"):
            words += ["--set", change]
        monkeypatch.setattr(sys, "argv", words)
        corrections_curve.main()
        return [json.loads(line) for line in rows.read_text().splitlines()]

    first = curve("0")
    assert [(row["choice"], row["photos"]) for row in first] == [
        ("none", 0),
        ("ask", 4),
        ("random", 4),
    ]
    assert first[0]["miou"] == round(100 * own["segmenter_miou"], 2)
    for row in first[1:]:
        name = Point(row["run"], row["choice"], 4, 0, tuple(row["settings"])).name
        assert AffinityLabels.open(work / name / "affinity-labels").manifest.counts["drawn"] == 4
        trained = SegmenterModel.open(work / name / "train-segmenter")
        assert trained.manifest.counts["imported"] == 4
        assert trained.manifest.section["loss_stride"] == 2
        affinity = AffinityModel.open(work / name / "train-affinity")
        before = AffinityModel.open(run / "train-affinity")
        assert affinity.file.read_bytes() != before.file.read_bytes()
        shutil.rmtree(work / name / "evaluate")  # as if killed before it
    rows.write_text(rows.read_text().splitlines()[0] + "\n")
    assert [row["miou"] for row in curve("0")] == [row["miou"] for row in first]
    more = curve("0,1")
    assert [row["seed"] for row in more] == [0, 0, 0, 1, 1, 1]
    other = SegmenterModel.open(work / Point("run", "none", 0, 1, ()).name / "train-segmenter")
    assert other.file.read_bytes() != SegmenterModel.open(run / "train-segmenter").file.read_bytes()
