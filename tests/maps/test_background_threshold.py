"""The background: the map (1 - max)^α, the equivalent threshold, its estimate, and labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.filters import threshold_otsu

from tag2mask.errors import DataError
from tag2mask.maps.background_threshold import (
    ScoreHistogram,
    against_background,
    alpha_from_threshold,
    estimate_background_threshold,
    labels_from_scores,
    threshold_from_alpha,
    with_background,
)
from tag2mask.metrics.threshold_curve import ThresholdCurve, max_and_argmax
from tag2mask.recipe.maps_to_masks import AffinityLabeling

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


def test_labels_of_a_small_example():
    scores = np.array([[[0.9, 0.4, 0.26, 0.2]], [[0.1, 0.4, 0.26, 0.3]]], np.float32)
    labels = labels_from_scores(scores, [2, 253], 0.26, (1, 4))
    # Ties: the first class; background at the threshold. Mask ids up to 254 fit into a byte.
    assert labels.tolist() == [[3, 3, 0, 254]] and labels.dtype == np.uint8


def test_no_tag_is_all_background():
    labels = labels_from_scores(np.zeros((0, 2, 3), np.float32), [], 0.3, (2, 3))
    assert labels.shape == (2, 3) and not labels.any()


def soft_discs(count, seed):
    """Yield masks and CAM-like maps: blurred discs with a noisy background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    for _ in range(count):
        radius, center = rng.uniform(8, 24), rng.uniform(16, 48, 2)
        distance = np.hypot(y - center[0], x - center[1]) - radius
        scores = 1 / (1 + np.exp(distance / 4)) * 0.8 + 0.2 * rng.random(y.shape)
        scores = (scores - scores.min()) / (scores.max() - scores.min())
        yield (distance < 0).astype(np.uint8), scores.astype(np.float32)[None]


def test_estimate_is_close_to_the_best_threshold_on_discs():
    histogram = ScoreHistogram.empty()
    curve = ThresholdCurve.empty(1, [i / 100 for i in range(100)])
    for truth, scores in soft_discs(30, seed=1):
        histogram.add(scores)
        curve.add(truth, [0], scores)
    miou = curve.miou()
    estimate = estimate_background_threshold(histogram)
    assert miou[round(100 * estimate)] > miou.max() - 0.06
    assert miou[20] < miou.max() - 0.2  # another threshold would be much worse


def test_estimate_is_otsu_of_the_pixels():
    scores = np.concatenate([s for _, s in soft_discs(5, seed=2)])
    histogram = ScoreHistogram.empty()
    for photo in scores:
        histogram.add(photo[None])
    assert estimate_background_threshold(histogram) == pytest.approx(
        threshold_otsu(scores, nbins=256), abs=2 / 256
    )


def test_histograms_merge_and_ignore_untagged_photos():
    photos = [s for _, s in soft_discs(4, seed=3)]
    complete, part = ScoreHistogram.empty(), ScoreHistogram.empty()
    for photo in photos:
        complete.add(photo)
    for photo in photos[:2]:
        part.add(photo)
    part.add(np.zeros((0, 64, 64), np.float32))
    rest = ScoreHistogram.empty()
    for photo in photos[2:]:
        rest.add(photo)
    part.merge(rest)
    np.testing.assert_array_equal(complete.counts, part.counts)


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([], "no photo has a map"),
        ([np.zeros((0, 4, 4), np.float32)], "no photo has a map"),
        ([np.full((1, 4, 4), 0.5, np.float32)], "one score only"),
    ],
)
def test_no_estimate_without_different_scores(photos, message):
    histogram = ScoreHistogram.empty()
    for photo in photos:
        histogram.add(photo)
    with pytest.raises(DataError, match=message) as found:
        estimate_background_threshold(histogram, section=AffinityLabeling.key)
    assert "set affinity_labels.threshold_from=fixed" in str(found.value)
