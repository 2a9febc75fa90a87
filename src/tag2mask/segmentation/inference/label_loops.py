"""From probabilities on a coarse grid to labels at the photo's size, without the floats between.

A photo's probabilities are computed at a few hundred pixels; enlarged to the photo's size they
would take 4 bytes a pixel and class. `enlarged_labels` enlarges (bilinear, align_corners=False) and
takes the largest in one loop, for any part of the photo.

Where the same class wins at all four grid cells around a pixel, it wins at the pixel as well: the
pixel's probabilities are one average of theirs. Only along contours are all classes looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tag2mask.runtime.compiled import compiled

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Index = npt.NDArray[np.intp]


class AxisInterpolation(NamedTuple):
    """Where the pixels of one axis lie between the cells of another grid.

    Attributes:
        cells: intp (n, 2), the cell before and the cell behind; equal where a pixel lies on one.
        shares: float32 (n,), of the cell behind.
    """

    cells: Index
    shares: Float32

    def part(self, first: int, last: int, origin: int = 0) -> AxisInterpolation:
        """Pixels first..last - 1, with cells counted from ``origin``."""
        return AxisInterpolation(self.cells[first:last] - origin, self.shares[first:last])


def axis_interpolation(cells: int, pixels: int) -> AxisInterpolation:
    """Where ``pixels`` pixels lie between ``cells`` cells that cover the same length."""
    at = np.clip((np.arange(pixels) + 0.5) * (cells / pixels) - 0.5, 0, cells - 1)
    before = at.astype(np.intp)
    shares = (at - before).astype(np.float32)
    behind = np.where(shares > 0, np.minimum(before + 1, cells - 1), before)
    return AxisInterpolation(np.stack([before, behind], axis=1), shares)


def winners(probabilities: Float32) -> UInt8 | None:
    """The largest channel of each cell, of equal ones the first.

    Args:
        probabilities: float32 (k, h, w), k of at most 256, in any memory order.

    Returns:
        uint8 (h, w); None where a cell holds something that is not a number.
    """
    assert 1 <= len(probabilities) <= 256, probabilities.shape
    winner = np.empty(probabilities.shape[1:], np.uint8)
    return winner if _winners(probabilities, winner) else None


def enlarged_labels(
    probabilities: Float32,
    winner: UInt8,
    rows: AxisInterpolation,
    columns: AxisInterpolation,
    *,
    confidence: bool,
) -> tuple[UInt8, Float32]:
    """Label pixels with the channel that is largest once enlarged; of equal ones the first.

    Args:
        probabilities: float32 (k, h, w) in any memory order.
        winner: `winners` of them.
        rows: of the pixels (n).
        columns: of the pixels (m).
        confidence: whether the largest values are wanted too.

    Returns:
        Channels, uint8 (n, m), and their values, float32 (n, m); (0, 0) where not wanted.
    """
    size = len(rows.shares), len(columns.shares)
    labels = np.empty(size, np.uint8)
    sure = np.empty(size if confidence else (0, 0), np.float32)
    _enlarge(probabilities, winner, *rows, *columns, labels, sure, confidence)
    return labels, sure


def resized(maps: Float32, size: tuple[int, int]) -> Float32:
    """Maps (k, h, w) at another size, float32 (k, *size); bilinear, align_corners=False."""
    if maps.shape[1:] == size:
        return maps
    result = np.empty((len(maps), *size), np.float32)
    _resize(
        maps,
        *axis_interpolation(maps.shape[1], size[0]),
        *axis_interpolation(maps.shape[2], size[1]),
        result,
    )
    return result


@compiled
def _winners(probabilities: Float32, winner: UInt8) -> bool:
    """Write the largest channel of each cell; False where one is not a number."""
    channels, height, width = probabilities.shape
    numbers = True
    for y in range(height):
        for x in range(width):
            best, largest = 0, probabilities[0, y, x]
            numbers &= largest == largest
            for c in range(1, channels):
                value = probabilities[c, y, x]
                numbers &= value == value
                if value > largest:
                    best, largest = c, value
            winner[y, x] = best
    return numbers


@compiled
def _enlarge(
    probabilities: Float32,
    winner: UInt8,
    rows: Index,
    row_shares: Float32,
    columns: Index,
    column_shares: Float32,
    labels: UInt8,
    sure: Float32,
    confidence: bool,
) -> None:
    for i in range(len(rows)):
        top, bottom, down = rows[i, 0], rows[i, 1], row_shares[i]
        for j in range(len(columns)):
            left, right, over = columns[j, 0], columns[j, 1], column_shares[j]
            best = winner[top, left]
            same = (
                best == winner[top, right]
                and best == winner[bottom, left]
                and best == winner[bottom, right]
            )
            if same and not confidence:
                labels[i, j] = best
                continue
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
                sure[i, j] = largest


@compiled
def _resize(
    maps: Float32,
    rows: Index,
    row_shares: Float32,
    columns: Index,
    column_shares: Float32,
    result: Float32,
) -> None:
    for c in range(len(maps)):
        for i in range(len(rows)):
            top, bottom, down = maps[c, rows[i, 0]], maps[c, rows[i, 1]], row_shares[i]
            for j in range(len(columns)):
                left, right, over = columns[j, 0], columns[j, 1], column_shares[j]
                above = top[left] + (top[right] - top[left]) * over
                below = bottom[left] + (bottom[right] - bottom[left]) * over
                result[c, i, j] = above + (below - above) * down
