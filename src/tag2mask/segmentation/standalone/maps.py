"""Interpolation of maps and labels, and blending of tiles, with the arithmetic of tag2mask."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tag2mask.segmentation.standalone.photos import STRIP, Array, Size


def axis(cells: int, pixels: int, corners: bool = False) -> tuple[Array, Array, Array]:
    """Return the cells before and behind each pixel of an axis, and the weights of the latter."""
    if corners:
        at = np.arange(pixels) * ((cells - 1) / max(pixels - 1, 1))
    else:
        at = (np.arange(pixels) + 0.5) * (cells / pixels) - 0.5
    at = np.clip(at, 0, cells - 1)
    before = at.astype(np.intp)
    weights = (at - before).astype(np.float32)
    return before, np.where(weights > 0, np.minimum(before + 1, cells - 1), before), weights


def resize(maps: Array, size: Size, corners: bool) -> Array:
    """Resize maps float32 (k, h, w), bilinear."""
    if maps.shape[1:] == size:
        return maps
    top, bottom, down = axis(maps.shape[1], size[0], corners)
    left, right, over = axis(maps.shape[2], size[1], corners)

    def along(rows: Array) -> Array:
        return rows[..., left] + (rows[..., right] - rows[..., left]) * over

    above, below = along(maps[:, top]), along(maps[:, bottom])
    return above + (below - above) * down[:, None]


def scaled(size: Size, by: float) -> Size:
    """Return a size times a factor, of at least one pixel."""
    return max(1, round(size[0] * by)), max(1, round(size[1] * by))


class Labels:
    """The labels of a photo and, if asked for, how sure they are; uint8 (h, w), 255 is certain."""

    def __init__(self, size: Size, cells: Size, confidence: bool) -> None:
        self._rows, self._columns = axis(cells[0], size[0]), axis(cells[1], size[1])
        self.labels = np.empty(size, np.uint8)
        self.confidence = np.empty(size, np.uint8) if confidence else None

    def write(self, maps: Array, first_row: int, first_column: int) -> None:
        """Label the pixels between the cells of a block of probabilities (k, h, w)."""
        if np.isnan(maps).any():
            raise FloatingPointError("the network's probabilities aren't finite")
        best = maps.argmax(axis=0).astype(np.uint8)
        columns = inside(self._columns, first_column, maps.shape[2])
        left, right, over = (values[columns] for values in self._columns)
        left, right = left - first_column, right - first_column
        rows = inside(self._rows, first_row, maps.shape[1])
        step = max(1, STRIP // max(1, len(left)))
        for start in range(rows.start, rows.stop, step):
            part = slice(start, min(start + step, rows.stop))
            top, bottom, down = (values[part] for values in self._rows)
            top, bottom = (top - first_row)[:, None], (bottom - first_row)[:, None]
            labels = best[top, left]
            same = (labels == best[top, right]) & (labels == best[bottom, left])
            y, x = np.nonzero(~(same & (labels == best[bottom, right])))
            near = (slice(None), top[y, 0], bottom[y, 0], left[x], right[x], over[x], down[y])
            labels[y, x] = between(maps, *near).argmax(axis=0)
            self.labels[part, columns] = labels
            if self.confidence is not None:
                sure = between(maps, labels, top, bottom, left, right, over, down[:, None])
                self.confidence[part, columns] = np.rint(sure * np.float32(255))


def between(
    maps: Array, channel: Any, top: Array, bottom: Array, left: Array, right: Array, over: Array,
    down: Array,
) -> Array:  # fmt: skip
    """Return the values of channels between four cells."""
    above, below = maps[channel, top, left], maps[channel, bottom, left]
    above = above + (maps[channel, top, right] - above) * over
    below = below + (maps[channel, bottom, right] - below) * over
    return above + (below - above) * down


def inside(cells: tuple[Array, Array, Array], first: int, count: int) -> slice:
    """Return the pixels of an axis between the cells first .. first + count - 1."""
    begin, end = np.searchsorted(cells[0], first), np.searchsorted(cells[1], first + count)
    return slice(int(begin), int(end))


class Span(NamedTuple):
    """A tile along an axis: computed from ``first``, used from ``begin``, blended after ``own``."""

    first: int
    begin: int
    own: int
    end: int
    rise: int

    def weights(self) -> Array:
        """Return the weights of the cells from ``begin`` to ``end``, which rise and fall."""
        weights = np.ones(self.end - self.begin, np.float32)
        weights[: self.rise] = ramp(self.rise)
        weights[len(weights) - (self.end - self.own) :] = 1 - ramp(self.end - self.own)
        return weights


def ramp(length: int) -> Array:
    """Return ``length`` weights between 0 and 1."""
    return (np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(max(length, 1))


class Blender:
    """Blends tiles into one map; keeps only the strips that overlap."""

    def __init__(self, channels: int, rows: list[Span], columns: list[Span]) -> None:
        depth = 1 + max(row.end - row.own for row in rows)
        self._above = np.zeros((channels, depth, columns[-1].end), np.float32)
        self._beside = np.zeros((channels, 0, 0), np.float32)

    def add(self, tile: Array, row: Span, column: Span) -> tuple[Array, int, int]:
        """Add the next tile; return the block that is final now, its first row and column."""
        top, left = min(row.begin, 1), min(column.begin, 1)
        tile *= row.weights()[:, None]
        tile *= column.weights()
        height, width = tile.shape[1] + top, tile.shape[2] + left
        values = np.zeros((len(tile), height, width), np.float32)
        values[:, top:, left:] = tile
        if left:
            values[:, :, : self._beside.shape[2]] += self._beside
        own = slice(column.begin, column.own)
        inner = slice(left, left + column.own - column.begin)
        if top:
            values[:, : 1 + row.rise, inner] += self._above[:, : 1 + row.rise, own]
        end_row, end_column = height - (row.end - row.own), width - (column.end - column.own)
        self._above[:, : 1 + row.end - row.own, own] = values[:, end_row - 1 :, inner]
        self._beside = values[:, :, end_column - 1 :].copy()
        return values[:, :end_row, :end_column], row.begin - top, column.begin - left
