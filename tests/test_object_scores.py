"""The score of small objects: each object counts the same, whatever its area."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.object_scores import PhotoObjects, compare_objects, summary

from tag2mask.classes import IGNORE


def mask(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Return a mask (60, 60) with boxes (value, top, left, height, width)."""
    found = np.zeros((60, 60), np.uint8)
    for value, top, left, height, width in boxes:
        found[top : top + height, left : left + width] = value
    return found


TWO = mask((1, 5, 5, 10, 10), (1, 40, 40, 4, 12))


def test_an_object_is_found_by_a_part_of_its_class() -> None:
    found = compare_objects(mask((1, 5, 5, 20, 20), (1, 40, 50, 4, 1)), TWO, 2)
    # 100 of 400 px; 4 of 48 px
    assert found == PhotoObjects((1, 1), (10, 12), (True, False), 2, 0)
    other_class = compare_objects(mask((2, 5, 5, 10, 10)), TWO, 2)
    assert other_class.found == (False, False) and other_class.wrong_parts == 1


@pytest.mark.parametrize(("height", "found"), [(10, True), (11, False)])
def test_the_iou_is_at_least_a_tenth(height: int, found: bool) -> None:
    truth, predicted = mask((1, 0, 0, 1, 10)), mask((1, 0, 0, height, 10))
    assert compare_objects(predicted, truth, 1).found == (found,)


def test_one_part_over_everything_finds_nothing() -> None:
    found = compare_objects(np.ones((60, 60), np.uint8), TWO, 1)
    assert found.found == (False, False) and found.parts == 1 and found.wrong_parts == 0


def test_parts_that_touch_at_a_corner_are_one() -> None:
    corners = mask((1, 0, 0, 4, 4), (1, 4, 4, 4, 4))
    found = compare_objects(corners, corners, 1)
    assert found.sizes == (8,) and found.parts == 1 and found.found == (True,)


def test_ignored_pixels_are_neither_object_nor_part() -> None:
    truth = mask((IGNORE, 0, 0, 20, 20), (1, 40, 40, 6, 6))
    found = compare_objects(mask((1, 0, 0, 20, 20), (1, 40, 40, 6, 6)), truth, 1)
    assert found == PhotoObjects((1,), (6,), (True,), 1, 0)


def test_the_summary_counts_objects_and_good_photos() -> None:
    photos = [
        PhotoObjects((1, 2), (9, 16), (True, False), 3, 2),
        PhotoObjects((2,), (30,), (True,), 1, 0),
        PhotoObjects((), (), (), 3, 3),
        PhotoObjects((), (), (), 0, 0),
    ]
    found = summary(photos, ("scratch", "spot", "pit"))
    assert found["objects"] == 3 and found["recall"] == 0.6667
    assert found["recall_by_size"] == {"8-11 px": 1.0, "12-19 px": 0.0, "20-30 px": 1.0}
    assert found["recall_by_class"] == {"scratch": 1.0, "spot": 0.5, "pit": None}
    assert found["good_photos"] == 2 and found["false_parts_per_good_photo"] == 1.5
    assert found["wrong_parts_per_other_photo"] == 1.0
