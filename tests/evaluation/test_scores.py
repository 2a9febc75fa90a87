"""Counts as the rows of the tables."""

from __future__ import annotations

import numpy as np
import pytest

from tag2mask.evaluation.scores import curve_scores, mask_scores, point_scores
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion
from tag2mask.metrics.threshold_curve import ThresholdCurve

pytestmark = pytest.mark.smoke

COUNTS = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
"""Rows are the truth; of class 1, two pixels are wrong and one is missed. Class 2 is absent."""


def test_scores_of_masks_are_those_of_the_counts() -> None:
    scores = mask_scores(
        Confusion(COUNTS),
        BoundaryCounts.empty(2),
        4,
        ("background", "cat", "dog"),
        ResampledTallies(2),
        published=False,
    )
    assert scores.photos == 4 and scores.pixel_accuracy == pytest.approx(9 / 12)
    assert scores.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.precision == pytest.approx((6 / 7 + 3 / 5) / 2)
    assert scores.recall == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert scores.over_activation == pytest.approx(2 / 3)
    assert scores.under_activation == pytest.approx(1 / 3)
    assert scores.boundary_miou is None
    cat, dog = scores.classes[1:]
    assert (cat.name, cat.iou, cat.precision, cat.recall) == ("cat", 3 / 6, 3 / 5, 3 / 4)
    assert (cat.false_positive_share, cat.false_negative_share) == (2 / 6, 1 / 6)
    assert (dog.iou, dog.precision, dog.recall) == (None, None, None)
    assert scores.confusion == ((6, 2, 0), (1, 3, 0), (0, 0, 0))


def test_absent_classes_count_as_published() -> None:
    scores = mask_scores(
        Confusion(COUNTS),
        BoundaryCounts.empty(2),
        4,
        ("b", "c", "d"),
        ResampledTallies(2),
        published=True,
    )
    assert scores.miou == pytest.approx((6 / 9 + 3 / 6) / 3)
    assert scores.classes[2].iou == 0


def test_scores_at_a_threshold() -> None:
    scores = point_scores(Confusion(COUNTS), 0.3, "fixed", published=False)
    assert (scores.background_threshold, scores.background_source) == (0.3, "fixed")
    assert scores.precision == pytest.approx((6 / 7 + 3 / 5) / 2)
    assert scores.recall == pytest.approx((6 / 8 + 3 / 4) / 2)


def test_the_curve_names_its_best_threshold() -> None:
    curve = ThresholdCurve.empty(1, [0.2, 0.5])
    curve.add(np.array([[0, 1]], np.uint8), [0], np.array([[[0.3, 0.9]]], np.float32))
    scores = curve_scores(curve, published=False)
    assert scores.thresholds == (0.2, 0.5)
    assert scores.miou == pytest.approx(((0 + 1 / 2) / 2, 1))
    assert (scores.best_threshold, scores.best_miou) == (0.5, 1.0)
