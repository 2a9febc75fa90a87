"""The connected parts of a mask's classes, which tools of instances hold one by one.

Runs along the columns are connected instead of pixels: a mask has some hundreds of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from tag2mask.classes import BACKGROUND, IGNORE

Box = tuple[int, int, int, int]
"""Left, top, width, height, px."""
Ints = NDArray[np.int64]


class MaskPart(NamedTuple):
    """A part of a class, or all of it."""

    value: int
    """Mask id of the class."""
    box: Box
    area: int
    """Its number of pixels."""
    runs: list[int]
    """Lengths outside and inside in turn along all columns of the mask, beginning with outside."""
    mask_height: int
    """px."""

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """Which pixels of the box are its own, bool (height, width)."""
        left, top, width, height = self.box
        lengths = np.array(self.runs)
        lengths[0] -= left * self.mask_height
        lengths[-1] += (left + width) * self.mask_height - sum(self.runs)
        inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        return inside.reshape(width, self.mask_height).T[top : top + height]


class _Runs(NamedTuple):
    """Runs of equal values inside a column, in the order of the columns, ``(n,)`` each."""

    starts: Ints
    """Place of the first pixel, counted along all columns."""
    ends: Ints
    """Place after the last pixel."""
    values: NDArray[np.uint8]

    def chosen(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> _Runs:
        """Return some of the runs."""
        return _Runs(self.starts[index], self.ends[index], self.values[index])


def mask_parts(mask: NDArray[np.uint8], *, by_class: bool = False) -> Iterator[MaskPart]:
    """Yield the parts of a mask, ordered by their first pixel along the columns.

    Args:
        mask: uint8 (h, w): 0 background, 1..C classes, 255 ignore.
        by_class: all pixels of a class are one part; else those that touch, also by a corner.
    """
    height = mask.shape[0]
    runs = _column_runs(mask)
    if not runs.values.size:
        return
    labels = runs.values if by_class else _connected(runs, height)
    order = np.argsort(labels, kind="stable")
    runs, labels = runs.chosen(order), labels[order]
    firsts = np.flatnonzero(np.concatenate(([True], labels[1:] != labels[:-1])))
    lengths = _lengths(runs, firsts, mask.size)
    areas = np.add.reduceat(runs.ends - runs.starts, firsts)
    columns, tops = np.divmod(runs.starts, height)
    bottoms = tops + runs.ends - runs.starts
    left, right = (f.reduceat(columns, firsts) for f in (np.minimum, np.maximum))
    top, bottom = np.minimum.reduceat(tops, firsts), np.maximum.reduceat(bottoms, firsts)
    boxes = np.stack((left, top, right - left + 1, bottom - top), 1).tolist()
    values = runs.values[firsts].tolist()
    for value, (x, y, w, h), area, own in zip(values, boxes, areas.tolist(), lengths, strict=True):
        yield MaskPart(value, (x, y, w, h), area, own, height)


def _column_runs(mask: NDArray[np.uint8]) -> _Runs:
    """Return the runs of classes in a mask."""
    pixels = mask.ravel(order="F")
    begins = np.empty(pixels.size, np.bool_)
    begins[1:] = pixels[1:] != pixels[:-1]
    begins[:: mask.shape[0]] = True
    starts = np.flatnonzero(begins)
    runs = _Runs(starts, np.append(starts[1:], pixels.size), pixels[starts])
    return runs.chosen((runs.values != BACKGROUND) & (runs.values != IGNORE))


def _connected(runs: _Runs, height: int) -> NDArray[np.int32]:
    """Return the number of each run's part; runs touch in neighboring columns, or by corners."""
    # With two places between columns, a run touches those of the next column that begin at or
    # before its end, and end at or after its beginning.
    columns = runs.starts // height
    step = height + 2
    starts, ends = runs.starts + 2 * columns, runs.ends + 2 * columns
    first = np.searchsorted(ends, starts + step, side="left")
    counts = np.maximum(np.searchsorted(starts, ends + step, side="right") - first, 0)
    own = np.repeat(np.arange(starts.size), counts)
    other = np.arange(own.size) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    same = runs.values[own] == runs.values[other]
    rows = np.concatenate(([0], np.cumsum(np.bincount(own[same], minlength=starts.size))))
    places = (np.ones(int(rows[-1]), np.int8), other[same], rows)
    touching = sparse.csr_array(places, (starts.size, starts.size))
    labels: NDArray[np.int32] = connected_components(touching, directed=False)[1]
    return labels


def _lengths(runs: _Runs, firsts: NDArray[np.intp], size: int) -> Iterator[list[int]]:
    """Yield the run lengths of each part, whose runs begin at ``firsts``.

    Runs that end where the next column begins are joined.
    """
    begins = np.ones(runs.starts.size, np.bool_)
    begins[1:] = runs.ends[:-1] != runs.starts[1:]
    begins[firsts] = True
    borders = np.stack((runs.starts[begins], runs.ends[np.append(begins[1:], True)]), 1).ravel()
    inner = np.diff(borders).tolist()
    places = (2 * np.append(np.cumsum(begins)[firsts] - 1, borders.size // 2)).tolist()
    for first, last in pairwise(places):
        yield [int(borders[first]), *inner[first : last - 1], size - int(borders[last - 1])]
