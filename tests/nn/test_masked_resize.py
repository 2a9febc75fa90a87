"""Resizing with padding, valid cells and averages."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_backbone import corner, padded, random

from tag2mask.nn.masked_resize import cells_inside, global_average, resize, resized_average

pytestmark = pytest.mark.smoke

SIDES = st.integers(1, 6)


@settings(max_examples=25, deadline=None)
@given(
    h=SIDES,
    w=SIDES,
    down=st.integers(0, 3),
    right=st.integers(0, 3),
    to=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_padding_never_leaks_into_a_resized_map(
    h: int, w: int, down: int, right: int, to: tuple[int, int]
) -> None:
    size = (h + down, w + right)
    maps, valid = random(1, 2, h, w), corner(h, w, size)
    one = resize(padded(maps, size, fill=50.0), to, valid)
    other = resize(padded(maps, size, fill=-3.0), to, valid)
    if to == size:
        one, other = one * valid[:, None], other * valid[:, None]
    torch.testing.assert_close(one, other)
    # A weighted mean of valid cells stays within their range.
    assert one.max() <= maps.clamp(min=0).max() + 1e-5
    assert one.min() >= maps.clamp(max=0).min() - 1e-5


@settings(max_examples=25, deadline=None)
@given(h=SIDES, w=SIDES, to=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_without_padding_equals_torch(h: int, w: int, to: tuple[int, int]) -> None:
    maps = random(2, 3, h, w)
    expected = F.interpolate(maps, to, mode="bilinear", align_corners=True)
    torch.testing.assert_close(resize(maps, to), expected)
    torch.testing.assert_close(resize(maps, to, torch.ones(2, 4 * h, 4 * w).bool()), expected)


def test_padding_does_not_darken_the_cells_next_to_it() -> None:
    maps, valid = padded(torch.ones(1, 2, 3, 4), (5, 6)), corner(3, 4, (5, 6))
    resized = resize(maps, (20, 24), valid)
    inside = corner(12, 16, (20, 24))
    torch.testing.assert_close(resized.masked_select(inside), torch.ones(2 * 12 * 16))


def test_half_precision_is_finite_next_to_padding() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        maps = padded(random(2, 3, 5, 4).to(dtype), (9, 8), fill=50.0)
        valid = corner(5, 4, (9, 8), batch=2)
        resized = resize(maps, (40, 40), valid)
        assert resized.dtype is dtype
        expected = resize(maps.float(), (40, 40), valid)
        torch.testing.assert_close(resized.float(), expected, atol=0.03, rtol=0.03)


def test_cells_more_than_half_on_the_photo_are_valid() -> None:
    for width, columns in ((11, 3), (10, 2), (9, 2), (8, 2)):  # of 4 px: 3, 2, 1 and none
        inside = cells_inside(corner(8, width, (16, 16)), (4, 4))
        row = [True] * columns + [False] * (4 - columns)
        assert inside[0].tolist() == [row] * 2 + [[False] * 4] * 2


@settings(max_examples=25, deadline=None)
@given(h=st.integers(1, 16), w=st.integers(1, 16))
def test_smallest_photo_has_a_valid_cell(h: int, w: int) -> None:
    inside = cells_inside(corner(h, w, (16, 16)), (2, 2))
    assert inside.any()
    assert not (inside & ~cells_inside(corner(16, 16, (16, 16)), (2, 2))).any()
    assert not cells_inside(torch.zeros(1, 16, 16, dtype=torch.bool), (2, 2)).any()


@settings(max_examples=25, deadline=None)
@given(h=SIDES, w=SIDES, down=st.integers(0, 3), right=st.integers(0, 3))
def test_padding_never_leaks_into_the_average(h: int, w: int, down: int, right: int) -> None:
    size = (h + down, w + right)
    maps = random(2, 3, h, w)
    average = global_average(padded(maps, size, fill=8.0), corner(h, w, size, batch=2))
    torch.testing.assert_close(average, maps.mean(dim=(2, 3)))


def test_average_without_valid_positions_is_0() -> None:
    average = global_average(random(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    assert not average.any()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
)
def test_average_without_resizing(h: int, w: int, size: tuple[int, int], masked: bool) -> None:
    torch.manual_seed(h * 10 + w)
    maps = torch.randn(2, 3, h, w)
    valid = torch.rand(2, 12, 12) > 0.3 if masked else None
    inside = None if valid is None else cells_inside(valid, size)
    expected = global_average(resize(maps, size, valid), inside)
    torch.testing.assert_close(resized_average(maps, size, valid), expected, atol=1e-5, rtol=1e-4)
