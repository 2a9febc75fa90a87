"""Compiled loops that turn probabilities on a coarse grid into labels at the photo's size.

A photo's probabilities are computed at a few hundred pixels. Enlarged to the photo's size they
would take 4 bytes per pixel and class, so `enlarged_labels` interpolates (bilinear,
align_corners=False) and takes the argmax in one loop, for any part of the photo.

If the same class has the largest probability at all four grid cells around a pixel, it also has it
at the pixel, because the pixel's probabilities are a weighted mean of theirs. So all classes are
interpolated only along contours.

Exported networks are used without this package by `segmentation.standalone`, with NumPy alone; no
pixel may differ, so the loops round as NumPy does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tag2mask.runtime.compiled import compiled_exactly
from tag2mask.segmentation.standalone.maps import axis

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Index = npt.NDArray[np.intp]


class AxisInterpolation(NamedTuple):
    """Cells and weights of a linear interpolation along one axis.

    Attributes:
        cells: intp (n, 2), indices of the cells before and after each pixel; equal if the pixel is
            exactly on a cell.
        weights: float32 (n,) in 0..1, weight of the cell after the pixel.
    """

    cells: Index
    weights: Float32

    def part(self, first: int, last: int, origin: int = 0) -> AxisInterpolation:
        """Return pixels first..last - 1, with cell indices relative to ``origin``."""
        return AxisInterpolation(self.cells[first:last] - origin, self.weights[first:last])


def axis_interpolation(
    cells: int, pixels: int, *, align_corners: bool = False
) -> AxisInterpolation:
    """Interpolate ``cells`` cells at ``pixels`` pixels of the same axis."""
    before, behind, weights = axis(cells, pixels, align_corners)
    return AxisInterpolation(np.stack([before, behind], axis=1), weights)


def channel_argmax(probabilities: Float32) -> UInt8 | None:
    """Return the channel with the largest value of each cell; the first one if several are equal.

    Args:
        probabilities: float32 (k, h, w), k at most 256, in any memory order.

    Returns:
        uint8 (h, w); None if any value is NaN.
    """
    assert 1 <= len(probabilities) <= 256, probabilities.shape
    argmax = np.empty(probabilities.shape[1:], np.uint8)
    return argmax if _channel_argmax(probabilities, argmax) else None


def enlarged_labels(
    probabilities: Float32,
    argmax: UInt8,
    rows: AxisInterpolation,
    columns: AxisInterpolation,
    *,
    confidence: bool,
) -> tuple[UInt8, Float32]:
    """Return the argmax over channels of the interpolated maps; the first one if several are equal.

    Args:
        probabilities: float32 (k, h, w) in any memory order.
        argmax: their `channel_argmax`, uint8 (h, w).
        rows: interpolation of the n rows of pixels.
        columns: interpolation of the m columns of pixels.
        confidence: whether to return the largest values too.

    Returns:
        Channels, uint8 (n, m), and their values, float32 (n, m), or (0, 0) if not requested.
    """
    size = len(rows.weights), len(columns.weights)
    labels = np.empty(size, np.uint8)
    confidences = np.empty(size if confidence else (0, 0), np.float32)
    _enlarge(probabilities, argmax, *rows, *columns, labels, confidences, confidence)
    return labels, confidences


def resize_maps(maps: Float32, size: tuple[int, int], *, align_corners: bool = False) -> Float32:
    """Resize maps float32 (k, h, w) to (k, *size), bilinear."""
    if maps.shape[1:] == size:
        return maps
    result = np.empty((len(maps), *size), np.float32)
    _resize(
        maps,
        *axis_interpolation(maps.shape[1], size[0], align_corners=align_corners),
        *axis_interpolation(maps.shape[2], size[1], align_corners=align_corners),
        result,
    )
    return result


@compiled_exactly
def _channel_argmax(probabilities: Float32, argmax: UInt8) -> bool:
    """Write the channel with the largest value of each cell; return False if a value is NaN."""
    channels, height, width = probabilities.shape
    finite = True
    for y in range(height):
        for x in range(width):
            best, largest = 0, probabilities[0, y, x]
            finite &= largest == largest  # NaN is unequal to itself
            for c in range(1, channels):
                value = probabilities[c, y, x]
                finite &= value == value
                if value > largest:
                    best, largest = c, value
            argmax[y, x] = best
    return finite


@compiled_exactly
def _enlarge(
    probabilities: Float32,
    argmax: UInt8,
    rows: Index,
    row_weights: Float32,
    columns: Index,
    column_weights: Float32,
    labels: UInt8,
    confidences: Float32,
    confidence: bool,
) -> None:
    """Write the argmax of the interpolated channels and, with ``confidence``, their values."""
    for i in range(len(rows)):
        top, bottom, down = rows[i, 0], rows[i, 1], row_weights[i]
        for j in range(len(columns)):
            left, right, over = columns[j, 0], columns[j, 1], column_weights[j]
            best = argmax[top, left]
            same = (
                best == argmax[top, right]
                and best == argmax[bottom, left]
                and best == argmax[bottom, right]
            )
            if same and not confidence:
                labels[i, j] = best
                continue
            # Only one channel can be the largest if it is at all four cells.
            first, last = (best, best + 1) if same else (0, len(probabilities))
            largest = np.float32(-1)
            for c in range(first, last):
                above, below = probabilities[c, top, left], probabilities[c, bottom, left]
                above += (probabilities[c, top, right] - above) * over
                below += (probabilities[c, bottom, right] - below) * over
                value = above + (below - above) * down
                if value > largest:
                    best, largest = c, value
            labels[i, j] = best
            if confidence:
                confidences[i, j] = largest


@compiled_exactly
def _resize(
    maps: Float32,
    rows: Index,
    row_weights: Float32,
    columns: Index,
    column_weights: Float32,
    result: Float32,
) -> None:
    """Write the bilinear interpolation of each map."""
    for c in range(len(maps)):
        for i in range(len(rows)):
            top, bottom, down = maps[c, rows[i, 0]], maps[c, rows[i, 1]], row_weights[i]
            for j in range(len(columns)):
                left, right, over = columns[j, 0], columns[j, 1], column_weights[j]
                above = top[left] + (top[right] - top[left]) * over
                below = bottom[left] + (bottom[right] - bottom[left]) * over
                result[c, i, j] = above + (below - above) * down
