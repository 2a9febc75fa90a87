"""Labels from scores, and the estimate of the background threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from tag2mask.errors import DataError
from tag2mask.maps.background import (
    ScoreHistogram,
    estimate_background_threshold,
    labels_from_scores,
)
from tag2mask.metrics.threshold_curve import ThresholdCurve, max_and_argmax
from tag2mask.recipe.sections import AffinityLabeling


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_max_and_argmax(seed, k):
    scores = np.random.default_rng(seed).integers(0, 4, (k, 5, 6)).astype(np.float32) / 4
    before = scores.copy()
    best, winner = max_and_argmax(scores)
    np.testing.assert_array_equal(best, scores.max(axis=0))
    np.testing.assert_array_equal(winner, scores.argmax(axis=0))
    np.testing.assert_array_equal(scores, before)


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
