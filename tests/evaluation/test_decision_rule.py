"""Minima of area and confidence for a miss rate, their cross-fitted errors, and calibration."""

from __future__ import annotations

import numpy as np
import pytest

from tag2mask.evaluation.decision_rule import (
    FoundClass,
    UnreachableError,
    choose_minima,
    fit_temperature,
    group_pattern,
)
from tag2mask.metrics.bootstrap import wilson_interval
from tag2mask.metrics.class_rule import ClassRule


def found(
    n: int = 100, *, hard: int = 0, noisy: int = 0, per_unit: int = 1, seed: int = 0
) -> FoundClass:
    """n photos with the class and n without; ``hard`` are missed, ``noisy`` falsely found."""
    rng = np.random.default_rng(seed)
    areas, sure = rng.uniform(0.1, 0.5, 2 * n), rng.uniform(0.7, 1.0, 2 * n)
    areas[n:] = 0
    areas[:hard] = sure[:hard] = 0
    areas[n : n + noisy] = rng.uniform(0.001, 0.05, noisy)
    sure[n:] = rng.uniform(0.3, 0.6, n)
    tagged = np.arange(2 * n) < n
    return FoundClass(areas, sure, tagged, [f"part-{i // per_unit}" for i in range(2 * n)])


def test_minima_between_true_and_false_areas() -> None:
    photos = found(noisy=30)
    rule = choose_minima(photos, 0.05)
    decided = (photos.areas >= rule.area) & (photos.confidences >= rule.confidence)
    np.testing.assert_array_equal(decided, photos.tagged)
    assert rule.missed == 0 and rule.false_alarms <= 5, "cross-fitted"
    assert (rule.with_class, rule.without_class, rule.miss_rate) == (100, 100, 0.05)


def test_a_rate_that_the_photos_cannot_show() -> None:
    """Of n photos without a miss, the rate may still be the upper end of the interval."""
    with pytest.raises(UnreachableError) as error:
        choose_minima(found(20), 0.1)
    assert (error.value.units, error.value.missed) == (20, 0)
    interval = wilson_interval(0, 20)
    assert interval is not None and error.value.lowest == interval[1] == pytest.approx(
        0.161, abs=1e-3
    )
    assert choose_minima(found(20), 0.162).missed <= 2


def test_a_rate_that_the_network_cannot_reach() -> None:
    with pytest.raises(UnreachableError) as error:
        choose_minima(found(100, hard=10), 0.1)
    assert (error.value.units, error.value.missed) == (100, 10)
    assert error.value.lowest == pytest.approx(0.174, abs=1e-3)
    assert choose_minima(found(100, hard=10), 0.175).missed >= 10


def test_no_photo_of_the_class() -> None:
    photos = found(30)
    none = FoundClass(photos.areas, photos.confidences, np.zeros(60, bool), photos.units)
    with pytest.raises(UnreachableError) as error:
        choose_minima(none, 0.5)
    assert error.value.lowest is None


def test_fewer_misses_cost_false_alarms() -> None:
    rng = np.random.default_rng(3)
    tagged = np.arange(400) < 200
    sure = np.where(tagged, rng.normal(0.7, 0.15, 400), rng.normal(0.4, 0.15, 400)).clip(0.01, 0.99)
    areas = np.where(tagged, rng.lognormal(-2, 1, 400), rng.lognormal(-3, 1, 400)).clip(0, 1)
    photos = FoundClass(areas, sure, tagged, [str(i) for i in range(400)])
    strict, lax = (choose_minima(photos, rate) for rate in (0.03, 0.2))
    assert strict.missed < lax.missed and strict.false_alarms > lax.false_alarms
    assert abs(lax.missed / 200 - 0.15) < 0.08, "cross-fitted: near what was allowed"


def test_cross_fitted_errors_are_those_of_photos_not_seen() -> None:
    """Pure noise: the chosen minima fit it, the cross-fitted errors don't."""
    rng = np.random.default_rng(1)
    tagged = np.arange(80) < 40
    photos = FoundClass(
        rng.uniform(0.1, 1, 80), rng.uniform(0.1, 1, 80), tagged, [str(i) for i in range(80)]
    )
    rule = choose_minima(photos, 0.5)
    decided = (photos.areas >= rule.area) & (photos.confidences >= rule.confidence)
    fitted = (decided[~tagged].sum(), (~decided[tagged]).sum())
    assert rule.false_alarms + rule.missed > sum(fitted)


def test_any_photo_of_a_group_decides_it() -> None:
    """The second view of each part doesn't show the defect, though the part's tag says so."""
    photos = found(200, per_unit=2)
    areas = photos.areas.copy()
    areas[1:200:2] = 0
    rule = choose_minima(FoundClass(areas, photos.confidences, photos.tagged, photos.units), 0.05)
    assert (rule.with_class, rule.missed) == (100, 0)
    alone = FoundClass(areas, photos.confidences, photos.tagged, [str(i) for i in range(400)])
    with pytest.raises(UnreachableError):
        choose_minima(alone, 0.05)


def test_order_does_not_matter() -> None:
    photos = found(60, hard=2, noisy=9)
    order = np.random.default_rng(0).permutation(120)
    mixed = FoundClass(
        photos.areas[order],
        photos.confidences[order],
        photos.tagged[order],
        [photos.units[i] for i in order],
    )
    assert choose_minima(mixed, 0.2) == choose_minima(photos, 0.2)
    assert isinstance(choose_minima(mixed, 0.2), ClassRule)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_made_up_labels_is_found(temperature: float) -> None:
    confidences = np.clip(np.arange(256) / 255, 1 / 512, 511 / 512)
    true = 1 / (1 + np.exp(-np.log(confidences / (1 - confidences)) / temperature))
    counts = 1000.0
    fitted = fit_temperature(counts * true, counts * (1 - true))
    assert fitted is not None and fitted == pytest.approx(temperature, rel=0.02)


def test_too_few_errors_to_calibrate() -> None:
    right, wrong = np.zeros(256), np.zeros(256)
    right[250], wrong[100] = 5000, 9
    assert fit_temperature(right, wrong) is None
    wrong[100] = 10
    assert fit_temperature(right, wrong) is not None


@pytest.mark.parametrize(
    ("groups", "pattern", "later"),
    [
        ({"4711_A": "4711", "4711_B": "4711", "12_A": "12"}, r"(.*)[_\-. ][^_\-. /]*", "99_C"),
        ({"a/1": "a", "a/2": "a", "b/1": "b"}, r"(.*)/[^/]*", "99/x"),
        ({"7-front-1": "x", "7-back-2": "x", "8-front-1": "y"}, r"(.*?)[_\-. ][^/]*", "99-top-3"),
    ],
)
def test_groups_in_names(groups: dict[str, str], pattern: str, later: str) -> None:
    import re

    assert group_pattern(groups) == pattern
    match = re.fullmatch(pattern, later)
    assert match is not None and match.group(1) == "99"


def test_groups_that_names_do_not_show() -> None:
    assert group_pattern({"1": "a", "2": "a", "3": "b"}) is None
