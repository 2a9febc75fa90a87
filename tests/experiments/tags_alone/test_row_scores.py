"""Rows have the evaluation's own figures, in percent."""

from __future__ import annotations

from ablation_scores import split
from benchmarks.experiments.tags_alone.row_scores import split_row

STAGES = [("SEAM", 0.4, 0.41), ("SEAM + walk", 0.45, 0.46), ("segmenter", 0.5, None)]


def test_row_of_a_split() -> None:
    row = split_row(split("val", STAGES, 0.44))
    at_best = {"threshold": 0.4, "miou": 46.0, "precision": 50.0, "recall": 80.0}
    used = {"threshold": 0.3, "threshold_from": "estimated"}
    assert row == {
        "photos": 10,
        "maps": [
            {
                "name": "SEAM",
                **used,
                "miou": 40.0,
                "precision": 60.0,
                "recall": 70.0,
                "best": at_best | {"miou": 41.0},
            },
            {
                "name": "SEAM + walk",
                **used,
                "miou": 45.0,
                "precision": 60.0,
                "recall": 70.0,
                "best": at_best,
            },
        ],
        "masks": {**used, "miou": 44.0, "precision": 60.0, "recall": 70.0, "boundary_iou": 22.0},
    }


def test_split_without_masks_has_no_scores() -> None:
    assert split_row(split("val", [], None)) == {"photos": 10, "maps": []}
