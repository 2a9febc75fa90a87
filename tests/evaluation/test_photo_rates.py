"""Rates of missed photos and false alarms against tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.classes import ClassSet
from tag2mask.evaluation.photo_rates import cell_interval, class_areas, photo_rates
from tag2mask.metrics.bootstrap import wilson_interval

pytestmark = pytest.mark.smoke

NAMES = ("scratch", "dent")


def rates(tags: list[tuple[int, int]], areas: list[tuple[float, float]], groups=None):
    return photo_rates(
        np.array(areas),
        np.array(tags, bool),
        groups or [str(i) for i in range(len(tags))],
        NAMES,
        0.01,
    )


def test_rates_computed_by_hand() -> None:
    tags = [(1, 0), (1, 0), (1, 1), (0, 0), (0, 1)]
    areas = [(0.3, 0.0), (0.009, 0.02), (0.01, 0.0), (0.5, 0.0), (0.0, 0.4)]
    found = rates(tags, areas)
    scratch, dent = found.classes
    assert (scratch.tagged, scratch.missed, scratch.untagged, scratch.false_alarms) == (3, 1, 2, 1)
    assert (dent.tagged, dent.missed, dent.untagged, dent.false_alarms) == (2, 1, 3, 1)
    assert scratch.missed_interval == wilson_interval(1, 3)
    assert dent.false_alarm_interval == wilson_interval(1, 3)
    # Rows: scratch, dent, no tag. The photo of both counts in neither cell off the diagonal.
    assert found.shown == ((2, 1), (0, 1), (1, 0))
    assert found.among == ((3, 2), (1, 2), (1, 1))
    assert cell_interval(found, 2, 0) == wilson_interval(1, 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_matrix_and_rates_agree_with_counting_photos(seed: int, photos: int) -> None:
    rng = np.random.default_rng(seed)
    tags = rng.random((photos, 3)) < 0.4
    areas = rng.random((photos, 3)) * (rng.random((photos, 3)) < 0.5)
    found = photo_rates(areas, tags, [str(i) for i in range(photos)], "abc", 0.2)
    shown = areas >= 0.2
    for j, own in enumerate(found.classes):
        assert own.missed == sum(t[j] and not s[j] for t, s in zip(tags, shown, strict=True))
        assert own.false_alarms == sum(s[j] and not t[j] for t, s in zip(tags, shown, strict=True))
        assert own.tagged + own.untagged == photos
        assert found.among[j][j] - found.shown[j][j] == own.missed
        for i in range(4):
            rows = [
                s[j]
                for t, s in zip(tags, shown, strict=True)
                if (t[i] if i < 3 else not t.any()) and (i == j or not t[j])
            ]
            assert (found.shown[i][j], found.among[i][j]) == (sum(rows), len(rows))


def test_a_class_without_photos_has_no_interval() -> None:
    found = rates([(1, 0), (0, 0)], [(0.5, 0.0), (0.0, 0.0)])
    assert found.classes[1].missed_interval is None
    assert cell_interval(found, 1, 1) is None


def test_views_of_one_part_count_once_in_intervals() -> None:
    tags, areas = [(1, 0)] * 12, [(0.5, 0.0)] * 12
    groups = [f"part {i // 3}" for i in range(12)]
    found = rates(tags, areas, groups)
    assert found.classes[0].missed_interval == wilson_interval(0, 4)
    assert cell_interval(found, 0, 0) == pytest.approx(wilson_interval(4, 4))


def test_areas_are_shares_of_the_photo() -> None:
    mask = np.array([[0, 1, 1, 0, 2]], np.uint8)
    assert class_areas(mask, ClassSet(NAMES)) == {"scratch": 0.4, "dent": 0.2}
    assert class_areas(mask[:, :1], ClassSet(NAMES)) == {}
