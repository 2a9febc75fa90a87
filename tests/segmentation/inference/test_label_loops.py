"""Labels at the photo's size equal the argmax of all enlarged probability maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tag2mask.segmentation.inference.label_loops import (
    axis_interpolation,
    channel_argmax,
    enlarged_labels,
    resize_maps,
)

Float32 = NDArray[np.float32]
SIDES = st.integers(1, 17)


def plain(maps: Float32, size: tuple[int, int]) -> Float32:
    found = F.interpolate(
        torch.from_numpy(np.ascontiguousarray(maps))[None],
        size,
        mode="bilinear",
        align_corners=False,
    )
    return found[0].numpy()


def channels_last(maps: Float32) -> Float32:
    return np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)


def random_maps(k: int, h: int, w: int, seed: int, *, steps: int = 0) -> Float32:
    """Return random probabilities; with ``steps`` only a few different values."""
    maps = np.random.default_rng(seed).random((k, h, w), np.float32)
    if steps:
        maps = np.floor(maps * steps) / np.float32(steps)
    return maps


@given(
    k=st.integers(1, 6),
    cells=st.tuples(SIDES, SIDES),
    size=st.tuples(SIDES, SIDES),
    seed=st.integers(0, 99),
    last=st.booleans(),
    coarse=st.booleans(),
)
@settings(max_examples=150)
def test_labels_equal_the_argmax_of_the_enlarged_maps(
    k: int, cells: tuple[int, int], size: tuple[int, int], seed: int, last: bool, coarse: bool
) -> None:
    maps = random_maps(k, *cells, seed)
    if coarse:  # large areas where one class has the largest value at all four cells
        maps = plain(maps[:, ::4, ::4], cells)
    given_maps = channels_last(maps) if last else maps
    argmax = channel_argmax(given_maps)
    assert argmax is not None
    labels, confidence = enlarged_labels(
        given_maps,
        argmax,
        axis_interpolation(cells[0], size[0]),
        axis_interpolation(cells[1], size[1]),
        confidence=True,
    )
    whole = plain(maps, size)
    chosen = np.take_along_axis(whole, labels[None].astype(np.intp), axis=0)[0]
    np.testing.assert_allclose(chosen, whole.max(axis=0), atol=1e-6)
    np.testing.assert_allclose(confidence, whole.max(axis=0), atol=1e-6)
    clear = _margin(whole) > 1e-6
    np.testing.assert_array_equal(labels[clear], whole.argmax(axis=0)[clear])
    alone, none = enlarged_labels(
        given_maps,
        argmax,
        axis_interpolation(cells[0], size[0]),
        axis_interpolation(cells[1], size[1]),
        confidence=False,
    )
    np.testing.assert_array_equal(alone, labels)
    assert none.size == 0


def _margin(maps: Float32) -> Float32:
    """Return the difference between the largest and the second largest channel."""
    if len(maps) == 1:
        return np.ones(maps.shape[1:], np.float32)
    ordered = np.sort(maps, axis=0)
    return ordered[-1] - ordered[-2]


@given(k=st.integers(1, 5), size=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_first_of_equal_channels(k: int, size: tuple[int, int], seed: int) -> None:
    maps = random_maps(k, *size, seed, steps=3)
    np.testing.assert_array_equal(channel_argmax(maps), maps.argmax(axis=0))
    argmax = channel_argmax(maps)
    assert argmax is not None
    same, confidence = enlarged_labels(
        maps,
        argmax,
        axis_interpolation(size[0], size[0]),
        axis_interpolation(size[1], size[1]),
        confidence=True,
    )
    np.testing.assert_array_equal(same, maps.argmax(axis=0))
    np.testing.assert_array_equal(confidence, maps.max(axis=0))


def test_channel_that_is_largest_only_between_cells() -> None:
    maps = np.array([[[0.55, 0.0]], [[0.0, 0.55]], [[0.45, 0.45]]], np.float32)
    argmax = channel_argmax(maps)
    assert argmax is not None
    labels, confidence = enlarged_labels(
        maps, argmax, axis_interpolation(1, 1), axis_interpolation(2, 8), confidence=True
    )
    assert labels.tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]
    assert confidence[0, 3] == pytest.approx(0.45)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_nan_is_detected(channel: int) -> None:
    maps = random_maps(3, 4, 5, 0)
    assert channel_argmax(maps) is not None
    maps[channel, 2, 3] = np.nan
    assert channel_argmax(maps) is None


@given(cells=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES), last=st.booleans())
def test_resize_equals_torchs(cells: tuple[int, int], size: tuple[int, int], last: bool) -> None:
    maps = random_maps(3, *cells, 1)
    found = resize_maps(channels_last(maps) if last else maps, size)
    np.testing.assert_allclose(found, plain(maps, size), atol=1e-6)
    np.testing.assert_allclose(resize_maps(maps[:, :, ::-1], size)[:, :, ::-1], found, atol=1e-6)


@given(cells=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_resize_with_aligned_corners_equals_torchs(
    cells: tuple[int, int], size: tuple[int, int]
) -> None:
    maps = random_maps(3, *cells, 1)
    expected = F.interpolate(
        torch.from_numpy(maps)[None], size, mode="bilinear", align_corners=True
    )[0]
    found = resize_maps(maps, size, align_corners=True)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_part_of_a_photo() -> None:
    maps = random_maps(4, 12, 9, 2)
    rows, columns = axis_interpolation(12, 31), axis_interpolation(9, 20)
    argmax = channel_argmax(maps)
    assert argmax is not None
    whole, _ = enlarged_labels(maps, argmax, rows, columns, confidence=False)
    inside = maps[:, 3:9, 2:]
    part, _ = enlarged_labels(
        inside, argmax[3:9, 2:], rows.part(9, 20, 3), columns.part(6, 20, 2), confidence=False
    )
    np.testing.assert_array_equal(part, whole[9:20, 6:])
