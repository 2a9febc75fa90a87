"""Average precision and F1 of tags, and doubtful tags."""

import numpy as np
import pytest

from tag2mask.metrics.tag_scores import doubtful_tags, tag_quality, tag_table

pytestmark = pytest.mark.smoke


def test_quality_of_a_small_example():
    tags = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    probabilities = np.array(
        [[0.9, 0.6, 0.1], [0.3, 0.8, 0.1], [0.4, 0.7, 0.9], [0.2, 0.1, 0.1]], np.float32
    )
    quality = tag_quality(probabilities, tags)
    assert quality.photos.tolist() == [2, 2, 0]
    # Class 0 has its photos at ranks 1 and 3: AP = (1/1 + 2/3) / 2.
    np.testing.assert_allclose(quality.average_precision, [5 / 6, 1.0, np.nan])
    assert quality.mean_average_precision == pytest.approx(11 / 12)
    np.testing.assert_allclose(quality.precision, [1.0, 2 / 3, 0.0])
    np.testing.assert_allclose(quality.recall, [0.5, 1.0, np.nan])
    np.testing.assert_allclose(quality.f1, [2 / 3, 0.8, 0.0])
    # A class without photos is excluded from the mean.
    assert quality.mean_f1 == pytest.approx((2 / 3 + 0.8) / 2)


def test_swapped_tags_have_the_largest_margins():
    rng = np.random.default_rng(0)
    truth = rng.random((300, 4)) < 0.3
    probabilities = np.where(
        truth, rng.normal(0.85, 0.08, truth.shape), rng.normal(0.1, 0.08, truth.shape)
    ).clip(0.01, 0.99)
    tags = truth.copy()
    present, absent = np.argwhere(truth)[::40], np.argwhere(~truth)[::100]
    tags[tuple(present.T)] = False
    tags[tuple(absent.T)] = True
    swapped = {(*p, "missing") for p in map(tuple, present)}
    swapped |= {(*p, "wrong") for p in map(tuple, absent)}
    doubts = doubtful_tags(probabilities.astype(np.float32), tags, most=len(swapped) + 2)
    found = {(d.photo, d.tag, d.kind) for d in doubts}
    assert len(swapped & found) >= 0.9 * len(swapped)
    margins = [d.margin for d in doubts]
    assert margins == sorted(margins, reverse=True)
    assert all(0 <= m <= 1 for m in margins)


def test_limit_adapts_to_a_class_with_low_probabilities():
    tags = np.zeros((10, 1), bool)
    tags[:5] = True
    probabilities = np.full((10, 1), 0.05, np.float32)
    probabilities[:5] = 0.3
    probabilities[9] = 0.32  # below 0.5, but above all photos with the tag
    [doubt] = doubtful_tags(probabilities, tags)
    assert (doubt.photo, doubt.kind) == (9, "missing")


@pytest.mark.parametrize("tags", [np.zeros((3, 2), bool), np.ones((3, 2), bool)])
def test_no_doubts_where_all_or_no_photos_have_the_tag(tags):
    assert doubtful_tags(np.full((3, 2), 0.9, np.float32), tags) == []


def test_no_doubts_about_a_class_ranked_the_wrong_way():
    tags = np.array([[True], [True], [False], [False]])
    assert doubtful_tags(np.array([[0.2], [0.3], [0.6], [0.7]], np.float32), tags) == []


def test_probabilities_of_zero_and_one():
    tags = np.array([[True]] * 3 + [[False]] * 3)
    right = np.array([[1], [1], [1], [0], [0], [0]], np.float32)
    assert doubtful_tags(right, tags) == []
    right[[0, 5]] = [[0], [1]]
    assert [(d.photo, d.kind) for d in doubtful_tags(right, tags)] == [(0, "wrong"), (5, "missing")]


def test_no_photos():
    none = np.zeros((0, 3))
    assert doubtful_tags(none.astype(np.float32), none.astype(bool)) == []
    assert np.isnan(tag_quality(none.astype(np.float32), none.astype(bool)).mean_average_precision)


def test_the_table_has_each_photos_own_tags() -> None:
    table = tag_table([(1,), (), (0, 2)], 3)
    assert table.tolist() == [[False, True, False], [False] * 3, [True, False, True]]
