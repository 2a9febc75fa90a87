"""Markdown tables."""

from __future__ import annotations

import pytest

from tag2mask.evaluation.records import (
    ClassScores,
    EvaluationScores,
    MaskScores,
    PointScores,
    SplitScores,
    StageScores,
)
from tag2mask.evaluation.tables import format_scores, markdown_table

pytestmark = pytest.mark.smoke


def test_columns_are_aligned() -> None:
    assert markdown_table(("name", "%"), [("a", "7.25"), ("longer", "–")]).splitlines() == [
        "| name   |    % |",
        "|:-------|-----:|",
        "| a      | 7.25 |",
        "| longer |    – |",
    ]


def test_bars_in_cells_are_escaped() -> None:
    assert r"| a\|b | 1 |" in markdown_table(("name", "n"), [("a|b", "1")])


def test_a_table_without_rows_has_a_head() -> None:
    assert markdown_table(("a", "b"), []) == "| a | b |\n|:--|--:|"


def test_every_score_is_in_its_column() -> None:
    stages = [
        StageScores(
            name,
            5,
            "known",
            PointScores(0.25, "estimated", 0.1, 0.2, 0.3),
            PointScores(0.5, "best", 0.4, 0.5, 0.6),
            None,
        )
        for name in ("CAM", "CAM + walk")
    ]
    split = SplitScores(
        split="val",
        photos=7,
        tag_source="known",
        background_threshold=0.25,
        background_source="estimated",
        masks=MaskScores(
            photos=6,
            miou=0.11,
            boundary_miou=0.12,
            pixel_accuracy=0.13,
            precision=0.14,
            recall=0.15,
            over_activation=0.16,
            under_activation=0.17,
            classes=(ClassScores("cat", 0.21, 0.22, 0.23, 0.24, 0.25, 0.26),),
            confusion=((1,),),
        ),
        curve=None,
        tags=None,
        doubtful_tags=(),
        stages=tuple(stages),
    )
    text = format_scores(EvaluationScores(("background", "cat"), "default", (split,)))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    head = "stages of val, 5 photos, known tags, %"
    (index,) = [i for i, row in enumerate(rows) if row and row[0] == head]
    assert rows[index][1:] == [
        "mIoU",
        "precision",
        "recall",
        "background threshold",
        "best possible",
    ]
    for row, name in zip(rows[index + 2 : index + 4], ("CAM", "CAM + walk"), strict=True):
        assert row == [name, "10.00", "20.00", "30.00", "0.25 (estimated)", "40.00 at 0.5"]
    heads = ["IoU", "precision", "recall", "false positives", "false negatives", "boundary IoU"]
    (index,) = [i for i, row in enumerate(rows) if row[:1] == ["val, 6 photos, %"]]
    assert rows[index][1:] == heads
    assert rows[index + 2] == ["cat", "21.00", "22.00", "23.00", "24.00", "25.00", "26.00"]
    overview = {row[0]: row[1] for row in rows if len(row) == 2}
    assert overview["mIoU"] == "11.00" and overview["boundary IoU"] == "12.00"
    assert (overview["precision"], overview["recall"]) == ("14.00", "15.00")
    assert (overview["pixel accuracy"], overview["photos"]) == ("13.00", "6 of 7")
