"""Confusion matrix: counts as in scikit-learn, and scores of a small example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from tag2mask.metrics.confusion import Confusion

pytestmark = pytest.mark.smoke

CLASSES = 4


@st.composite
def label_maps(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = (draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    truth = rng.choice(np.array([0, 1, 2, 4, 255], np.uint8), size)
    return truth, rng.integers(0, CLASSES + 1, size).astype(np.uint8)


@given(label_maps())
@settings(max_examples=25, deadline=None)
def test_counts_equal_scikit_learn(maps):
    truth, prediction = maps
    confusion = Confusion.empty(CLASSES)
    confusion.add(truth, prediction)
    kept = truth != 255
    if kept.any():
        expected = confusion_matrix(truth[kept], prediction[kept], labels=range(CLASSES + 1))
        np.testing.assert_array_equal(confusion.counts, expected)
    else:
        assert confusion.counts.sum() == 0


@given(label_maps())
@settings(max_examples=25, deadline=None)
def test_merged_counts_equal_counts_of_all_rows(maps):
    truth, prediction = maps
    direct, parts = Confusion.empty(CLASSES), [Confusion.empty(CLASSES), Confusion.empty(CLASSES)]
    for row, part in ((slice(0, 5), parts[0]), (slice(5, None), parts[1])):
        part.add(truth[row], prediction[row])
        direct.add(truth[row], prediction[row])
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[0].counts, direct.counts)


@given(label_maps())
@settings(max_examples=25, deadline=None)
def test_iou_and_error_shares_sum_to_one(maps):
    confusion = Confusion.empty(CLASSES)
    confusion.add(*maps)
    total = confusion.iou() + confusion.false_positive_share() + confusion.false_negative_share()
    np.testing.assert_allclose(total[~np.isnan(total)], 1.0)


def test_scores_of_a_small_example():
    # Class 1: TP 2, FP 1, FN 1. Class 2 is predicted but never true. Class 3 is absent.
    truth = np.array([[0, 0, 1, 1, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 1, 2, 3]], np.uint8)
    confusion = Confusion.empty(3)
    confusion.add(truth, prediction)
    np.testing.assert_allclose(confusion.iou(), [0.5, 0.5, 0.0, np.nan])
    assert confusion.miou() == pytest.approx(1 / 3)
    np.testing.assert_allclose(confusion.iou(published=True), [0.5, 0.5, 0.0, 0.0])
    assert confusion.miou(published=True) == pytest.approx(0.25)
    np.testing.assert_allclose(confusion.precision(), [1.0, 2 / 3, 0.0, np.nan])
    np.testing.assert_allclose(confusion.recall(), [0.5, 2 / 3, np.nan, np.nan])
    assert confusion.over_activation() == pytest.approx(0.5)
    assert confusion.under_activation() == pytest.approx(0.5)
    assert confusion.pixel_accuracy() == pytest.approx(3 / 5)


def test_void_alone_gives_nan():
    confusion = Confusion.empty(2)
    confusion.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert np.isnan(confusion.miou()) and np.isnan(confusion.pixel_accuracy())
    assert np.isnan(confusion.over_activation())


def test_254_classes():
    confusion = Confusion.empty(254)
    labels = np.arange(255, dtype=np.uint8)[None]
    confusion.add(labels, labels)
    np.testing.assert_array_equal(confusion.counts, np.eye(255, dtype=np.int64))


@pytest.mark.parametrize(("truth", "prediction"), [(3, 0), (0, 3), (0, 255)])
def test_values_outside_the_classes_fail_an_assertion(truth, prediction):
    with pytest.raises(AssertionError, match="outside the class list"):
        Confusion.empty(2).add(
            np.full((2, 2), truth, np.uint8), np.full((2, 2), prediction, np.uint8)
        )
