"""The connected parts of a mask's classes, which tools of instances hold one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tag2mask.classes import BACKGROUND, IGNORE

_TOUCHING = np.ones((3, 3), np.bool_)
"""The pixels that touch one, also by a corner."""
Box = tuple[int, int, int, int]
"""Left, top, width, height, px."""


class MaskPart(NamedTuple):
    """A part of a class, or all of it."""

    value: int
    """Mask id of the class."""
    box: Box
    pixels: NDArray[np.bool_]
    """(height, width) inside the box."""


def label_parts(mask: NDArray[np.uint8], *, by_class: bool) -> NDArray[np.integer]:
    """Return a number for each pixel's part, 0 where there is none.

    Args:
        mask: uint8 (h, w): 0 background, 1..C classes, 255 ignore.
        by_class: all pixels of a class are one part; else those that touch, also by a corner.
    """
    known = np.where(mask == IGNORE, np.uint8(BACKGROUND), mask)
    if by_class:
        return known
    labels = np.zeros(known.shape, np.int32)
    count = 0
    for value, place in enumerate(ndimage.find_objects(known), 1):
        if place is not None:
            parts, found = ndimage.label(known[place] == value, _TOUCHING)
            np.copyto(labels[place], parts + count, where=parts > 0)
            count += found
    return labels


def mask_parts(mask: NDArray[np.uint8], *, by_class: bool = False) -> Iterator[MaskPart]:
    """Yield the parts of a mask, each with its pixels; the arguments are those of `label_parts`."""
    labels = label_parts(mask, by_class=by_class)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if place is not None:
            pixels = labels[place] == number
            first = int(pixels.argmax())
            value = int(mask[place].ravel()[first])
            yield MaskPart(value, box_of(place), pixels)


def box_of(place: tuple[slice, slice]) -> Box:
    """Return the box of slices along rows and columns."""
    rows, columns = place
    return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
