"""Scores of masks without maps: imported ones, or those of another run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_evaluate_steps import predicted
from walked import eight_pixels

from small_runs import invoke
from tag2mask.artifacts.handles import IMPORTED, MASKS_MADE_BY, PreparedData, PseudoMaskFolder
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError
from tag2mask.evaluation.records import read_scores
from tag2mask.recipe.crf import ComparedCrf
from tag2mask.recipe.sections import Evaluate
from tag2mask.steps.evaluate import evaluate, format_table

A = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], np.uint8)


def given(
    data: PreparedData,
    out: Path,
    masks: dict[str, np.ndarray],
    who: str = "drawn",
    **metrics: object,
) -> PseudoMaskFolder:
    """Return a folder of imported masks."""
    with step_folder(
        PseudoMaskFolder, out, section={IMPORTED: who}, coverage={"data": data}
    ) as step:
        for photo_id, labels in masks.items():
            write_mask(out / "masks" / f"{photo_id}.png", labels, ((0, 0, 0),) * 4)
        return step.finish(metrics={IMPORTED: who, "background_source": who, **metrics})


def test_masks_and_network_are_scored_without_maps(tmp_path: Path, one_rank) -> None:
    scene, _, _ = eight_pixels(tmp_path)
    masks = given(scene.data, tmp_path / "drawn", {"a": A, "b": np.zeros((2, 4), np.uint8)})
    found = predicted(
        scene,
        {"a": np.zeros((2, 4), np.uint8), "b": np.zeros((2, 4), np.uint8)},
        splits=["train", "val"],
    )
    crf = Evaluate(crf=ComparedCrf(enabled=True))
    evaluation = evaluate(
        scene.data, None, masks, crf, tmp_path / "evaluate", one_rank, predictions=found
    )
    scores = read_scores(evaluation)
    (train,) = scores.splits
    assert scores.masks_made_by == "drawn" == evaluation.manifest.metrics[MASKS_MADE_BY]
    assert "evaluate.crf is left out" in evaluation.manifest.metrics["warnings"][0]
    # The cat has 3 of its 4 pixels, the background all of its 11 and one more.
    assert train.masks.photos == 2 and train.masks.miou == pytest.approx((3 / 4 + 11 / 12) / 2)
    assert train.network.miou == pytest.approx((0 + 11 / 15) / 2)
    assert [stage.name for stage in train.stages] == ["given masks", "segmenter"]
    assert train.stages[0].used.miou == train.masks.miou
    assert evaluation.manifest.metrics["train"]["segmenter_miou"] == train.network.miou
    assert train.curve is None and train.tags is None and not train.doubtful_tags
    assert "none (drawn)" in format_table(evaluation)
    assert set(evaluation.manifest.coverage) == {"data", "masks", "ground truth", "predictions"}


def test_photos_without_a_given_mask_score_the_network_alone(tmp_path: Path, one_rank) -> None:
    scene, _, _ = eight_pixels(tmp_path)
    masks = given(scene.data, tmp_path / "drawn", {"a": A})
    zeros = {"a": np.zeros((2, 4), np.uint8), "b": np.zeros((2, 4), np.uint8)}
    found = predicted(scene, zeros, splits=["train"])
    out = tmp_path / "evaluate"
    evaluation = evaluate(scene.data, None, masks, Evaluate(), out, one_rank, predictions=found)
    (train,) = read_scores(evaluation).splits
    assert train.masks.photos == 1 and train.network.photos == 2
    assert [stage.name for stage in train.stages] == ["segmenter"], "of other photos"
    rows = [json.loads(line) for line in (out / "photos.jsonl").read_text().splitlines()]
    assert [row["miou"] is None for row in rows] == [False, True]
    assert "agreement" in rows[0]["evidence"] and not rows[1]["evidence"]


def test_masks_of_other_classes_are_refused(tmp_path: Path, one_rank) -> None:
    scene, _, _ = eight_pixels(tmp_path)
    masks = given(scene.data, tmp_path / "drawn", {"a": A}, classes=["cow"])
    with pytest.raises(DataError, match="the masks are of the classes cow"):
        evaluate(scene.data, None, masks, Evaluate(), tmp_path / "evaluate", one_rank)


def test_the_command_takes_no_maps(tmp_path: Path) -> None:
    scene, _, _ = eight_pixels(tmp_path)
    masks = given(scene.data, tmp_path / "sam", {"a": A}, "model:SAM")
    arguments = ("evaluate", "--data", scene.data.path, "--masks", masks.path)
    result = invoke(*arguments, "--out", tmp_path / "evaluate")
    assert result.exit_code == 0, result.output
    result = invoke(*arguments, "--out", tmp_path / "other", "--calibrate", "3")
    assert result.exit_code == 1 and "--maps" in result.output
