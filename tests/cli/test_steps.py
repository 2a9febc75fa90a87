"""Commands of single steps, on the folders of a finished run."""

from __future__ import annotations

from pathlib import Path

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import PseudoMaskFolder
from tag2mask.files.json_file import read_json


def calibrated(root: Path, *, masks: bool) -> tuple[Path, list[str | Path]]:
    """A small run, and the command that calibrates its background threshold."""
    photos, run = write_photos(root / "photos", masks=masks), root / "run"
    settings = write_recipe(
        root / "small.yaml", walk__enabled=False, train_segmenter__enabled=False
    )
    done = invoke(
        "run", "--data", photos, "--recipe", settings, "--out", run, "--until", "evaluate"
    )
    assert done.exit_code == 0, done.output
    return run, [
        "evaluate",
        "--data",
        run / "prepare",
        "--maps",
        run / "infer-cam",
        "--masks",
        run / "pseudo-masks",
        "--out",
        run / "evaluate",
        "--calibrate",
        "3",
    ]


def test_calibrating_a_finished_run_repeats_masks_and_scores(tmp_path: Path) -> None:
    run, command = calibrated(tmp_path, masks=True)
    for _ in range(2):  # the second time nothing differs any more
        result = invoke(*command)
        assert result.exit_code == 0, result.output
        metrics = PseudoMaskFolder.open(run / "pseudo-masks").manifest.metrics
        assert metrics["background_source"] == "calibrated"
        assert len(metrics["calibration_photos"]) == 3
        split = read_json(run / "evaluate" / "evaluation.json")["splits"][0]
        assert split["background_source"] == "calibrated"


def test_a_step_in_a_run_takes_the_recipe_of_the_run(tmp_path: Path) -> None:
    run, command = calibrated(tmp_path, masks=True)
    own = f"recipe: {run / 'recipe.yaml'}"
    thresholds = {"cat": 0.7}
    settings = write_recipe(
        tmp_path / "thresholds.yaml",
        walk__enabled=False,
        train_segmenter__enabled=False,
        pseudo_masks={"class_thresholds": thresholds},
    )
    done = invoke(
        "run", "--data", tmp_path / "photos", "--recipe", settings, "--out", run, "--until",
        "evaluate", "--redo", "pseudo-masks",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = invoke(*command)
    assert result.exit_code == 0 and own in result.output, result.output
    section = PseudoMaskFolder.open(run / "pseudo-masks").manifest.section
    assert section["class_thresholds"] == thresholds and section["calibrate_photos"] == 3

    words = ["pseudo-masks", "--data", run / "prepare", "--maps", run / "infer-cam", "--out"]
    result = invoke(*words, tmp_path / "elsewhere")
    assert result.exit_code == 0 and own in result.output, result.output
    assert PseudoMaskFolder.open(tmp_path / "elsewhere").manifest.section["class_thresholds"]
    result = invoke(*words, tmp_path / "other", "--recipe", "lite0-cpu")
    assert result.exit_code == 0 and "recipe:" not in result.output, result.output
    assert not PseudoMaskFolder.open(tmp_path / "other").manifest.section["class_thresholds"]

    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().partition("\n")[2])  # as if it wasn't written by `run`
    result = invoke(*words, tmp_path / "third")
    assert result.exit_code == 0 and "recipe:" not in result.output, result.output


def test_without_photos_to_calibrate_on_the_old_masks_stay(tmp_path: Path) -> None:
    run, command = calibrated(tmp_path, masks=False)
    before = sorted((run / "pseudo-masks").rglob("*.*"))
    result = invoke(*command)
    assert result.exit_code == 1 and "no training photo has a mask" in result.stderr
    assert sorted((run / "pseudo-masks").rglob("*.*")) == before
    assert PseudoMaskFolder.open(run / "pseudo-masks").manifest.counts["photos"] > 0
