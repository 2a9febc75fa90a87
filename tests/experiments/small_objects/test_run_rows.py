"""The experiment on small objects runs its rows, logs them, and goes on where it ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmarks.demo_run import TOY
from benchmarks.experiments.small_objects import run_rows
from benchmarks.small_defects import make_small_defects

from tag2mask.recipe.loading import load_recipe


@pytest.mark.parametrize("name", run_rows.ROWS)
def test_every_row_is_a_recipe(name: str) -> None:
    recipe, settings = run_rows.ROWS[name]
    load_recipe(recipe, settings)


def test_a_logged_row_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_small_defects(tmp_path / "data", train=4, test=2, side=128)
    assert run_rows.describe_data(data) == {"train": 4, "test": 2, "side": 128}
    ran: list[str] = []

    def run_row(data: Path, out: Path, row: dict[str, object]) -> dict[str, object]:
        ran.append(f"{out.name} {row['settings']}")
        return row | {"scores": {}}

    monkeypatch.setattr(run_rows, "run_row", run_row)
    command = ["x", str(data), str(tmp_path / "runs"), "--log", str(tmp_path / "log.jsonl")]
    command += ["--rows", "lite0-cpu", "pooling=max"]
    for more in ([], [], ["--set", "train_cam.epochs=1"]):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        run_rows.main()
    assert ran == [
        "lite0-cpu []",
        "pooling=max ['train_cam.pooling=max']",
        "lite0-cpu ['train_cam.epochs=1']",
        "pooling=max ['train_cam.pooling=max', 'train_cam.epochs=1']",
    ]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4


def test_a_run_that_fails_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = make_small_defects(tmp_path / "data", train=4, test=2, side=128)
    log = tmp_path / "log.jsonl"
    command = ["x", str(data), str(tmp_path / "runs"), "--log", str(log), "--rows", "lite0-cpu"]
    monkeypatch.setattr(sys, "argv", [*command, "--set", "train_cam.epochs=-1"])
    with pytest.raises(SystemExit, match="row 'lite0-cpu' failed"):
        run_rows.main()
    assert "train_cam.epochs" in capfd.readouterr().err
    assert not log.exists()


@pytest.mark.slow
def test_a_row_is_run_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_small_defects(tmp_path / "data", train=6, test=3, side=128)
    short = [word for value in TOY for word in ("--set", value)]
    short += ["--set", "train_cam.backbone.output_stride=8", "--set", "infer_cam.tile=96"]
    short += ["--set", "train_segmenter.freeze_stride=1"]
    log = tmp_path / "log.jsonl"
    command = ["x", str(data), str(tmp_path / "runs"), "--log", str(log), *short]
    monkeypatch.setattr(sys, "argv", [*command, "--rows", "small-objects-cpu"])
    run_rows.main()
    row = json.loads(log.read_text())
    assert set(row["scores"]) == {"pseudo-masks", "predict"} and row["peak_mib"] > 100
    assert row["scores"]["predict"]["good_photos"] <= 3
