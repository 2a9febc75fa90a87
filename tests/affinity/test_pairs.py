"""Pairs of neighboring cells: offsets, ends and the published border."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.affinity.pairs import existing_pairs, pair_ends, pair_offsets, usable_radius

pytestmark = pytest.mark.smoke

SIDES, RADII = st.integers(1, 14), st.integers(1, 7)


def test_the_published_offsets():
    """In psa's order: to the right in the same row, then row by row below."""
    wanted = [(0, x) for x in range(1, 5)] + [
        (y, x) for y in range(1, 5) for x in range(-4, 5) if x * x + y * y < 25
    ]
    assert pair_offsets(5).tolist() == [list(offset) for offset in wanted]
    assert pair_offsets(5).shape == (34, 2) and pair_offsets(5).dtype == np.int64


@given(RADII)
def test_each_neighbor_once(radius):
    offsets = {tuple(o) for o in pair_offsets(radius).tolist()}
    both = offsets | {(-dy, -dx) for dy, dx in offsets}
    circle = {
        (dy, dx)
        for dy in range(-8, 9)
        for dx in range(-8, 9)
        if 0 < dy * dy + dx * dx < radius * radius
    }
    assert both == circle and len(both) == 2 * len(offsets)


def test_radius_1_has_no_pairs():
    assert pair_offsets(1).shape == (0, 2)
    assert existing_pairs((3, 4), 1, published=False).shape == (0, 3, 4)
    assert existing_pairs((3, 4), 1, published=True).shape == (0, 3, 4)


@given(SIDES, SIDES, RADII)
@settings(max_examples=60, deadline=None)
def test_default_pairs_are_those_inside(height, width, radius):
    exist = existing_pairs((height, width), radius, published=False)
    for one, (dy, dx) in zip(exist, pair_offsets(radius).tolist(), strict=True):
        for y in range(height):
            for x in range(width):
                assert one[y, x] == (y + dy < height and 0 <= x + dx < width)


@given(SIDES, SIDES, RADII)
@settings(max_examples=60, deadline=None)
def test_published_pairs_are_a_crop_inside_the_map(height, width, radius):
    exist = existing_pairs((height, width), radius, published=True)
    assert not (exist & ~existing_pairs((height, width), radius, published=False)).any()
    border = radius - 1
    if radius > 1:
        crop = np.zeros((height, width), bool)
        crop[:-border, border:-border] = True
        assert all(np.array_equal(one, crop) for one in exist)


@given(SIDES, SIDES, st.integers(0, 20), st.integers(-20, 20))
def test_ends_fit_each_other(height, width, dy, dx):
    rows, columns = np.mgrid[:height, :width]
    first, second = pair_ends((height, width), dy, dx)
    np.testing.assert_array_equal(rows[first] + dy, rows[second])
    np.testing.assert_array_equal(columns[first] + dx, columns[second])
    assert rows[first].size == max(0, height - dy) * max(0, width - abs(dx))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((40, 60), 5),
        ((11, 11), 5),
        ((10, 60), 4),
        ((60, 6), 2),
        ((3, 3), 1),
        ((2, 9), 1),
        ((1, 1), 1),
    ],
)
def test_the_published_radius_of_small_maps(size, wanted):
    assert usable_radius(size, 5, published=True) == wanted


@pytest.mark.parametrize(
    ("size", "wanted"), [((40, 60), 5), ((1, 60), 5), ((3, 2), 3), ((1, 1), 1)]
)
def test_the_default_radius_keeps_every_pair(size, wanted):
    assert usable_radius(size, 5) == wanted
    assert (
        existing_pairs(size, wanted, published=False).sum()
        == existing_pairs(size, 5, published=False).sum()
    )
