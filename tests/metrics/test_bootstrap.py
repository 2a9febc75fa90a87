"""Intervals: resampled scores against a plain bootstrap, and their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tag2mask.metrics.bootstrap import (
    RESAMPLES,
    ResampledTallies,
    percentile_interval,
    poisson_weights,
    wilson_interval,
)
from tag2mask.metrics.confusion import Confusion

pytestmark = pytest.mark.smoke

CLASSES = 3


def photo_confusions(seed: int, photos: int, accuracy: float = 0.7) -> list[Confusion]:
    """Return confusions of photos with one class each, whose quality varies from photo to photo."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(photos):
        size = (8, 8)
        truth = rng.choice([0, int(rng.integers(1, CLASSES + 1))], size).astype(np.uint8)
        wrong = rng.random(size) > np.clip(rng.normal(accuracy, 0.2), 0, 1)
        guess = np.where(wrong, rng.integers(0, CLASSES + 1, size), truth).astype(np.uint8)
        found.append(Confusion.empty(CLASSES))
        found[-1].add(truth, guess)
    return found


def resampled(confusions: list[Confusion], groups: list[str] | None = None) -> ResampledTallies:
    tallies = ResampledTallies(CLASSES)
    for number, confusion in enumerate(confusions):
        tallies.add(groups[number] if groups else f"photo {number}", confusion.cells())
    return tallies


def test_merged_tallies_are_those_of_all_photos() -> None:
    confusions = photo_confusions(3, 7)
    groups = [f"photo {number}" for number in range(7)]
    merged = resampled(confusions[::2], groups[::2])
    merged.merge(resampled(confusions[1::2], groups[1::2]))
    expected = resampled(confusions)
    np.testing.assert_array_equal(merged.miou(), expected.miou())
    np.testing.assert_array_equal(merged.recall(), expected.recall())


def total(confusions: list[Confusion], weights: np.ndarray) -> Confusion:
    counts = sum(w * c.counts for w, c in zip(weights, confusions, strict=True))
    return Confusion(np.asarray(counts))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_each_resample_has_the_scores_of_the_weighted_counts(seed: int, photos: int) -> None:
    confusions = photo_confusions(seed, photos)
    weights = np.stack([poisson_weights(f"photo {number}") for number in range(photos)])
    found = resampled(confusions)
    for place in (0, 1, RESAMPLES - 1):
        expected = total(confusions, weights[:, place])
        np.testing.assert_allclose(found.iou()[:, place], expected.iou())
        np.testing.assert_allclose(found.precision()[:, place], expected.precision())
        np.testing.assert_allclose(found.recall()[:, place], expected.recall())
        np.testing.assert_allclose(found.miou()[place], expected.miou())
        published = expected.miou(published=True) if expected.counts.any() else np.nan
        np.testing.assert_allclose(found.miou(published=True)[place], published)


@given(st.integers(0, 2**32 - 1), st.randoms())
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_photos_changes_nothing(seed: int, shuffle) -> None:
    confusions = photo_confusions(seed, 9)
    order = list(range(9))
    shuffle.shuffle(order)
    names = [f"photo {number}" for number in order]
    one, other = resampled(confusions), resampled([confusions[i] for i in order], names)
    np.testing.assert_array_equal(one.miou(), other.miou())


def test_the_interval_is_that_of_photos_drawn_with_replacement() -> None:
    confusions = photo_confusions(seed=4, photos=150)
    rng = np.random.default_rng(0)
    drawn = [
        total(confusions, np.bincount(rng.integers(0, 150, 150), minlength=150)).miou()
        for _ in range(RESAMPLES)
    ]
    low, high = percentile_interval(resampled(confusions).miou())
    expected = percentile_interval(np.array(drawn))
    width = expected[1] - expected[0]
    assert 0.01 < width < 0.2
    assert (low, high) == pytest.approx(expected, abs=0.1 * width)


def test_95_percent_of_the_intervals_contain_the_true_value() -> None:
    everything = photo_confusions(seed=5, photos=6000)
    true = total(everything, np.ones(6000)).miou()
    contained = 0
    for start in range(0, 6000, 60):
        low, high = percentile_interval(resampled(everything[start : start + 60]).miou())
        contained += low <= true <= high
    assert 88 <= contained <= 100


def test_copies_of_a_photo_in_one_group_add_no_certainty() -> None:
    confusions = photo_confusions(seed=6, photos=40)
    names = [f"part {number}" for number in range(40)]
    once = percentile_interval(resampled(confusions, names).miou())
    thrice = percentile_interval(resampled(confusions * 3, names * 3).miou())
    apart = percentile_interval(resampled(confusions * 3).miou())
    assert thrice == pytest.approx(once)
    assert apart[1] - apart[0] < 0.75 * (once[1] - once[0])


def test_differences_on_the_same_photos_are_more_certain_than_either_score() -> None:
    worse = photo_confusions(seed=7, photos=100)
    better = [Confusion(c.counts + np.diag([3] * (CLASSES + 1))) for c in worse]
    one, other = resampled(worse).miou(), resampled(better).miou()
    low, high = percentile_interval(other - one)
    alone = percentile_interval(one)
    assert 0 < low < high
    assert high - low < 0.5 * (alone[1] - alone[0])


def test_there_is_no_interval_from_one_or_two_photos() -> None:
    for photos, has_one in ((1, False), (2, False), (3, True), (20, True)):
        found = percentile_interval(resampled(photo_confusions(seed=8, photos=photos)).miou())
        assert (found is not None) == has_one
    assert percentile_interval(ResampledTallies(CLASSES).miou()) is None


def test_two_photos_have_no_interval_of_the_published_score_either() -> None:
    tallies = resampled(photo_confusions(seed=8, photos=2))
    assert percentile_interval(tallies.miou(published=True)) is None


def test_there_is_no_interval_of_a_class_in_one_photo() -> None:
    confusions = photo_confusions(seed=9, photos=30)
    for confusion in confusions[1:]:
        confusion.counts[2] = confusion.counts[:, 2] = 0
    confusions[0].counts[2, 2] = 5
    iou = resampled(confusions).iou()
    assert percentile_interval(iou[2]) is None
    assert percentile_interval(iou[1]) is not None


def test_weights_are_those_of_a_poisson_distribution() -> None:
    weights = np.concatenate([poisson_weights(f"{number}") for number in range(200)])
    shares = np.bincount(weights, minlength=4)[:4] / len(weights)
    np.testing.assert_allclose(shares, [0.3679, 0.3679, 0.1839, 0.0613], atol=0.004)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=40, deadline=None)
def test_wilsons_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="wilson")
    assert wilson_interval(*counts) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_photos_of_one_group_count_once() -> None:
    assert wilson_interval(30, 60, groups=20) == wilson_interval(10, 20)
    assert wilson_interval(0, 0) is None
