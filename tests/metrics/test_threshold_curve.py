"""Threshold curve: equal to one evaluation per threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.maps.background_threshold import labels_from_scores
from tag2mask.metrics.confusion import Confusion
from tag2mask.metrics.threshold_curve import ThresholdCurve, max_and_argmax

CLASSES = 5


@st.composite
def photos(draw):
    """Generate photos whose scores often equal a threshold, or each other, exactly."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = draw(st.sampled_from([4, 100, 255, 10**6]))
    result = []
    for _ in range(draw(st.integers(1, 3))):
        size = tuple(rng.integers(1, 15, 2))
        tags = sorted(rng.choice(CLASSES, rng.integers(0, CLASSES + 1), replace=False).tolist())
        scores = rng.integers(0, coarse + 1, (len(tags), *size)) / coarse
        truth = rng.choice(np.array([0, 1, 2, 3, 5, 255], np.uint8), size)
        result.append((truth, tags, scores.astype(np.float32)))
    return result


THRESHOLDS = st.one_of(
    st.just([i / 100 for i in range(60)]),
    st.just([i / 255 for i in range(256)]),  # more bins than fit into uint8
    st.just([0.0, 0.3, 0.3 + 1e-6, 1.0]),  # too close for one threshold per cell
    st.lists(st.integers(0, 1000).map(lambda i: i / 1000), min_size=1, max_size=9, unique=True).map(
        sorted
    ),
)


@given(photos(), THRESHOLDS)
@settings(max_examples=20, deadline=None)
def test_one_pass_equals_one_pass_per_threshold(photos, thresholds):
    curve = ThresholdCurve.empty(CLASSES, thresholds)
    for truth, tags, scores in photos:
        curve.add(truth, tags, scores)
    for index, threshold in enumerate(thresholds):
        confusion = Confusion.empty(CLASSES)
        for truth, tags, scores in photos:
            # As published: a background channel in front, then argmax.
            channels = np.zeros((CLASSES + 1, *truth.shape), np.float32)
            channels[0] = threshold
            for tag, channel in zip(tags, scores, strict=True):
                channels[tag + 1] = channel
            prediction = channels.argmax(axis=0).astype(np.uint8)
            if tags:
                np.testing.assert_array_equal(
                    prediction, labels_from_scores(scores, tags, threshold, truth.shape)
                )
            confusion.add(truth, prediction)
        np.testing.assert_array_equal(curve.confusion(index).counts, confusion.counts)
        for published in (False, True):
            np.testing.assert_array_equal(
                curve.iou(published=published)[index], confusion.iou(published=published)
            )
            np.testing.assert_array_equal(
                curve.miou(published=published)[index], confusion.miou(published=published)
            )


def test_merged_counts_equal_counts_of_all_photos():
    rng = np.random.default_rng(0)
    total, other = (ThresholdCurve.empty(2, [0.2, 0.5]) for _ in range(2))
    parts = []
    for part in (total, other):
        truth = rng.integers(0, 3, (8, 9)).astype(np.uint8)
        scores = rng.random((2, 8, 9), np.float32)
        part.add(truth, [0, 1], scores)
        parts.append((truth, scores))
    expected = ThresholdCurve.empty(2, [0.2, 0.5])
    for truth, scores in parts:
        expected.add(truth, [0, 1], scores)
    total.merge(other)
    np.testing.assert_array_equal(total.counts, expected.counts)


def test_selected_thresholds_equal_a_curve_of_these_alone():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 3, (9, 9), np.uint8), rng.random((2, 9, 9), np.float32)
    full = ThresholdCurve.empty(2, [0.0, 0.1, 0.35, 0.5, 0.8, 0.99])
    full.add(truth, [0, 1], scores)
    for kept in ([0], [5], [1, 2], [0, 3, 5], [0, 1, 2, 3, 4, 5]):
        alone = ThresholdCurve.empty(2, full.thresholds[kept].tolist())
        alone.add(truth, [0, 1], scores)
        np.testing.assert_array_equal(full.select(kept).counts, alone.counts)
        np.testing.assert_array_equal(full.select(kept).thresholds, alone.thresholds)


def test_best_is_the_lowest_of_tied_thresholds():
    curve = ThresholdCurve.empty(1, [0.0, 0.4, 0.5, 0.9])
    curve.add(np.array([[0, 1]], np.uint8), [0], np.array([[[0.3, 0.7]]], np.float32))
    assert curve.best() == (0.4, 1.0)


def test_best_without_any_pixel():
    threshold, miou = ThresholdCurve.empty(1, [0.1, 0.2]).best()
    assert threshold == pytest.approx(0.1) and np.isnan(miou)


def test_scores_above_one_by_a_rounding_error():
    curve = ThresholdCurve.empty(1, [0.5, 1.0])
    above = np.full((1, 1, 1), np.nextafter(np.float32(1), np.float32(2)))
    curve.add(np.ones((1, 1), np.uint8), [0], above)
    assert curve.miou().tolist() == [1.0, 1.0]


def test_a_value_outside_the_classes_fails_an_assertion():
    curve = ThresholdCurve.empty(2, [0.5])
    with pytest.raises(AssertionError, match="outside the class list"):
        curve.add(np.full((2, 2), 9, np.uint8), [0], np.zeros((1, 2, 2), np.float32))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_max_and_argmax(seed, k):
    scores = np.random.default_rng(seed).integers(0, 4, (k, 5, 6)).astype(np.float32) / 4
    before = scores.copy()
    best, winner = max_and_argmax(scores)
    np.testing.assert_array_equal(best, scores.max(axis=0))
    np.testing.assert_array_equal(winner, scores.argmax(axis=0))
    np.testing.assert_array_equal(scores, before)
