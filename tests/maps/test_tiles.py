"""Tiles: they cover the axis, their weights sum to 1, and blending them gives the map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.maps.tiles import TileBlender, TileSpan, tile_spans

LAYOUTS = st.builds(
    lambda multiple, side, overlap, length: (
        length,
        multiple * side,
        multiple * min(overlap, side // 2),
        multiple,
    ),
    multiple=st.integers(1, 5),
    side=st.integers(2, 9),
    overlap=st.integers(0, 4),
    length=st.integers(1, 150),
)


@given(LAYOUTS)
def test_weights_sum_to_one(layout: tuple[int, int, int, int]) -> None:
    length, side, overlap, multiple = layout
    total = np.zeros(length, np.float32)
    found = tile_spans(length, side, overlap, multiple)
    for span in found:
        weights = span.weights()
        assert len(weights) == span.end - span.begin and (weights > 0).all()
        total[span.begin : span.end] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert [span.rise for span in found[1:]] == [span.fall for span in found[:-1]]
    assert all(span.rise == overlap for span in found[1:])


@given(LAYOUTS)
def test_tiles_begin_at_multiples_and_have_one_length(
    layout: tuple[int, int, int, int],
) -> None:
    length, side, overlap, multiple = layout
    for span in tile_spans(length, side, overlap, multiple):
        assert 0 <= span.first <= span.begin < span.own_end <= span.end <= length
        assert span.first % multiple == 0
        assert span.end - span.first <= side
        padded = -(-(span.end - span.first) // multiple) * multiple
        assert padded == (side if length > side else padded)


def test_short_axis_is_one_tile() -> None:
    assert tile_spans(40, 40, 16, 8) == [TileSpan(first=0, begin=0, own_end=40, end=40, rise=0)]
    assert len(tile_spans(41, 40, 16, 8)) == 2


def blended(maps: np.ndarray, rows: list[TileSpan], columns: list[TileSpan]) -> np.ndarray:
    """Cut maps into tiles and blend them; cells that were never final stay NaN."""
    blender = TileBlender(len(maps), rows, columns)
    whole = np.full(maps.shape, np.nan, np.float32)
    for row in rows:
        for column in columns:
            tile = maps[:, row.begin : row.end, column.begin : column.end].copy()
            values, top, left = blender.add(tile, row, column)
            cells = np.s_[:, top : top + values.shape[1], left : left + values.shape[2]]
            known = ~np.isnan(whole[cells])
            np.testing.assert_array_equal(whole[cells][known], values[known])
            whole[cells] = values
    return whole


@given(LAYOUTS, LAYOUTS)
def test_blended_tiles_of_a_map_give_the_map(
    one: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> None:
    rows, columns = tile_spans(*one), tile_spans(*other)
    maps = np.random.default_rng(0).random((2, one[0], other[0]), np.float32)
    np.testing.assert_allclose(blended(maps, rows, columns), maps, atol=1e-6)


def test_overlaps_are_linear_ramps() -> None:
    rows, columns = tile_spans(4, 4, 0, 1), tile_spans(14, 8, 4, 1)
    assert [(span.begin, span.end) for span in columns] == [(0, 8), (4, 12), (8, 14)]
    blender, found = TileBlender(1, rows, columns), np.zeros(14)
    for value, column in zip((0, 1, 3), columns, strict=True):
        tile = np.full((1, 4, column.end - column.begin), value, np.float32)
        values, _, left = blender.add(tile, rows[0], column)
        found[left : left + values.shape[2]] = values[0, 0]
    rise = [0.125, 0.375, 0.625, 0.875]
    np.testing.assert_allclose(found, [0, 0, 0, 0, *rise, *(1 + 2 * np.array(rise)), 3, 3])


def test_only_strips_are_stored() -> None:
    rows, columns = tile_spans(1000, 40, 8, 4), tile_spans(100, 40, 8, 4)
    blender = TileBlender(3, rows, columns)
    for column in columns:
        blender.add(np.ones((3, 40, column.end - column.begin), np.float32), rows[0], column)
    kept = sum(part.nbytes for part in vars(blender).values())
    assert kept <= 4 * 3 * 9 * (100 + 41)


@pytest.mark.parametrize(("side", "overlap"), [(24, 16), (24, 7)])
def test_invalid_overlaps_fail_an_assertion(side: int, overlap: int) -> None:
    with pytest.raises(AssertionError):
        tile_spans(100, side, overlap, 8)
