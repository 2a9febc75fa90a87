"""Boundary IoU: the published bands, void pixels and merged counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import erosion

from tag2mask.metrics.boundary_iou import BoundaryCounts, band_width, contour_band

pytestmark = pytest.mark.smoke


def published_band(mask, width):
    """Return the mask minus its repeated 3x3 erosion, with zeros around the photo."""
    eroded = np.pad(mask, 1)
    for _ in range(width):
        eroded = np.pad(erosion(eroded, np.ones((3, 3)), mode="ignore")[1:-1, 1:-1], 1)
    return mask & ~eroded[1:-1, 1:-1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_band_equals_the_published_one_for_every_class(seed, width):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (3, 3)).astype(np.uint8)
    labels = np.kron(coarse, np.ones(rng.integers(1, 8, 2), np.uint8))
    band = contour_band(labels, width)
    for c in range(3):
        np.testing.assert_array_equal(band & (labels == c), published_band(labels == c, width))


def square(low, high, size=40):
    labels = np.zeros((size, size), np.uint8)
    labels[low:high, low:high] = 1
    return labels


def count(truth, prediction, share=0.05):
    counts = BoundaryCounts.empty(2)
    counts.add(truth, prediction, share)
    return counts


def test_equal_masks_score_one_and_absent_classes_nan():
    counts = count(square(10, 30), square(10, 30))
    np.testing.assert_allclose(counts.iou(), [1.0, 1.0, np.nan])
    assert counts.iou(published=True)[2] == 0.0
    assert counts.miou() == 1.0


def test_a_shifted_contour_lowers_boundary_iou_more_than_iou():
    # The band is 3 px wide (5 % of 56.6): 252 px of the 24 px square, 204 px of the 20 px square.
    # Both contain the 1 px ring from 10 to 29 inclusive: 76 px.
    counts = count(square(10, 30), square(8, 32))
    assert band_width((40, 40), 0.05) == 3
    assert counts.iou()[1] == pytest.approx(76 / (252 + 204 - 76))
    assert counts.iou()[1] < (20 / 24) ** 2


def test_a_contour_inside_void_is_correct_and_one_outside_is_not():
    truth = square(10, 30)
    truth[(square(8, 32) == 1) & (truth == 0)] = 255
    for edge in (10, 9, 8):
        assert count(truth, square(edge, 40 - edge)).miou() == 1.0
    assert count(truth, square(4, 36)).iou()[1] < 0.5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_pixels_of_void_never_count(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = (
        np.kron(rng.integers(0, 3, (4, 4)), np.ones((6, 6), int)).astype(np.uint8) for _ in range(2)
    )
    void = rng.random(truth.shape) < 0.2
    filled = np.where(void, prediction, truth)
    width = band_width(truth.shape, 0.05)
    counts = count(np.where(void, np.uint8(255), truth), prediction)
    for c in range(3):
        true = published_band(filled == c, width) & ~void
        predicted = published_band(prediction == c, width) & ~void
        assert counts.truth[c] == true.sum() and counts.prediction[c] == predicted.sum()
        assert counts.intersection[c] == (true & predicted).sum()


def test_merged_counts_equal_counts_of_all_photos():
    pairs = [(square(10, 30), square(8, 32)), (square(3, 9), square(3, 12))]
    direct, merged = BoundaryCounts.empty(2), BoundaryCounts.empty(2)
    for truth, prediction in pairs:
        direct.add(truth, prediction, 0.05)
        merged.merge(count(truth, prediction))
    np.testing.assert_array_equal(direct.intersection, merged.intersection)
    np.testing.assert_array_equal(direct.iou(), merged.iou())


def test_photo_of_one_pixel():
    one = np.ones((1, 1), np.uint8)
    assert count(one, one).iou()[1] == 1.0
