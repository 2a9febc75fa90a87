"""The background (1 - max)^α and the equivalent threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tag2mask.maps.background import (
    against_background,
    alpha_from_threshold,
    labels_from_scores,
    threshold_from_alpha,
    with_background,
)
from tag2mask.metrics.threshold_curve import max_and_argmax

pytestmark = pytest.mark.smoke

UNIT = st.floats(0, 1, width=32)


def maps_of(k):
    return hnp.arrays(np.float32, (k, 3, 4), elements=UNIT)


@pytest.mark.parametrize(("threshold", "alpha"), [(0.2755, 4), (0.2219, 6), (0.0939, 24), (0.5, 1)])
def test_alpha_of_thresholds(threshold, alpha):
    assert alpha_from_threshold(threshold) == pytest.approx(alpha, rel=2e-3)


@given(st.floats(0.001, 0.999))
def test_at_alpha_a_class_ties_with_the_background(threshold):
    assert (1 - threshold) ** alpha_from_threshold(threshold) == pytest.approx(threshold, rel=1e-9)


@given(st.floats(0.001, 0.999))
def test_threshold_from_alpha_is_the_inverse(threshold):
    assert threshold_from_alpha(alpha_from_threshold(threshold)) == pytest.approx(
        threshold, rel=1e-6
    )


@given(maps_of(2), st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_argmax_with_the_background_is_the_threshold(scores, threshold):
    best, _ = max_and_argmax(scores)
    near = np.abs(best - threshold) < 1e-4
    labels = with_background(scores, alpha_from_threshold(threshold)).argmax(axis=0)
    wanted = labels_from_scores(scores, (0, 1), threshold, scores.shape[1:])
    np.testing.assert_array_equal(labels[~near], wanted[~near])


def test_without_classes_everything_is_background():
    maps = with_background(np.zeros((0, 2, 3), np.float32), 6.0)
    np.testing.assert_array_equal(maps, np.ones((1, 2, 3), np.float32))
    assert maps.dtype == np.float32
    assert against_background(maps).shape == (0, 2, 3)


def test_scores_slightly_above_1_give_no_nan():
    over = np.full((1, 1, 1), np.nextafter(np.float32(1), np.float32(2)), np.float32)
    np.testing.assert_array_equal(with_background(over, 2.5)[0], np.zeros((1, 1)))


@given(maps_of(4))
@settings(max_examples=100, deadline=None)
def test_classes_exceed_half_where_they_exceed_the_background(maps):
    maps[:, maps.max(axis=0) < 1e-30] = 0  # ratios of subnormal numbers are imprecise
    scores = against_background(maps)
    assert scores.dtype == np.float32 and scores.min() >= 0 and scores.max() <= 1
    tie = np.isclose(maps[0], maps[1:].max(axis=0), rtol=1e-5)
    labels = labels_from_scores(scores, (0, 1, 2), 0.5, maps.shape[1:])
    np.testing.assert_array_equal(labels[~tie], maps.argmax(axis=0)[~tie])
    assert not scores[:, maps.max(axis=0) == 0].any()


def test_classes_stay_distinct_where_the_background_is_almost_0():
    maps = np.array([1e-30, 0.2, 0.6], np.float32)[:, None, None]
    np.testing.assert_allclose(against_background(maps).ravel(), [1 / 3, 1], rtol=1e-6)
