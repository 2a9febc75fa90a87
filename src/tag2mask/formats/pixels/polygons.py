"""Outlines of masks as polygons along the edges of pixels.

Corners are whole numbers: pixel ``(x, y)`` covers the square from ``(x, y)`` to ``(x + 1, y + 1)``.
Filled by COCO's rule (as pycocotools does), such polygons give the mask exactly. Formats whose
polygons have no holes get each hole joined to its outline by a vertical cut of no width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Corner = tuple[int, int]
"""x and y, px."""
_EAST, _SOUTH, _WEST, _NORTH = range(4)
"""Directions along an outline, each a right turn from the one before."""


def mask_polygons(pixels: NDArray[np.bool_], left: int = 0, top: int = 0) -> list[list[Corner]]:
    """Return the outlines of a mask, one polygon for each part whose pixels share edges.

    Args:
        pixels: bool (h, w).
        left: added to x.
        top: added to y.

    Example:
        >>> mask_polygons(np.ones((1, 2), np.bool_))
        [[(0, 0), (2, 0), (2, 1), (0, 1)]]
    """
    labels, _ = ndimage.label(pixels)
    polygons = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        dy, dx = place[0].start + top, place[1].start + left
        polygon = _joined(list(_loops(labels[place] == number)))
        polygons.append([(x + dx, y + dy) for x, y in polygon])
    return polygons


class _Corners(NamedTuple):
    """Where outlines turn, sorted by row, then by column."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    leaves: NDArray[np.bool_]
    """(n, 4): whether an outline leaves in each direction."""


def _corners(pixels: NDArray[np.bool_]) -> _Corners:
    around = np.pad(pixels, 1)
    nw, ne, sw, se = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    is_diagonal = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero((nw ^ ne ^ sw ^ se) | is_diagonal)
    # The part is on the right-hand side of its outline.
    leaves = np.stack((se & ~ne, sw & ~se, nw & ~sw, ne & ~nw), -1)[y, x]
    return _Corners(x, y, leaves)


def _loops(pixels: NDArray[np.bool_]) -> Iterator[list[Corner]]:
    """Yield the closed outlines of one part: the outer one first, then its holes.

    Each begins with its uppermost corner, the left one of several.
    """
    x, y, leaves = _corners(pixels)
    order = np.lexsort((y, x))
    place = np.argsort(order)
    column = order.tolist()
    # Between two corners in a row or column an outline runs straight.
    rows, columns, turns = range(len(x)), place.tolist(), leaves.tolist()
    for first in range(len(x)):
        for start in range(4):
            if not turns[first][start]:
                continue
            loop, at, heading = [], first, start
            while turns[at][heading]:
                turns[at][heading] = False
                loop.append((int(x[at]), int(y[at])))
                if heading in (_EAST, _WEST):
                    at = rows[at] + (1 if heading == _EAST else -1)
                else:
                    at = column[columns[at] + (1 if heading == _SOUTH else -1)]
                right = (heading + 1) % 4
                # Where two pixels touch by a corner, turning right keeps them apart.
                heading = right if leaves[at, right] else (heading + 3) % 4
            yield loop


def _joined(loops: list[list[Corner]]) -> list[Corner]:
    """Return an outline with its holes as one polygon.

    Outlines are linked lists, each with its first corner once more at its end: cutting a long one
    takes no longer than a short one.
    """
    corners = [corner for loop in loops for corner in (*loop, loop[0])]
    following = list(range(1, len(corners) + 1))
    lasts, first = {}, 0
    for loop in loops:
        lasts[first] = first + len(loop)
        first += len(loop) + 1
    for edge, holes in _cut_edges(corners, lasts).items():
        at, level = edge, corners[edge][1]
        is_eastward = corners[edge][0] < corners[edge + 1][0]
        for first in holes if is_eastward else reversed(holes):
            down = len(corners)
            corners += [(corners[first][0], level)] * 2
            following += [first, edge + 1]
            following[at], following[lasts[first]] = down, down + 1
            at = down + 1
    polygon, at = [corners[0]], following[0]
    while at != lasts[0]:
        if corners[at] != polygon[-1]:  # a cut may begin at a corner
            polygon.append(corners[at])
        at = following[at]
    return polygon


def _cut_edges(corners: list[Corner], lasts: dict[int, int]) -> dict[int, list[int]]:
    """Return which holes are joined to which horizontal edges: for each, the nearest one above.

    Args:
        corners: of all outlines, one after the other.
        lasts: the places of the first and the last corner of each outline, the outer one first.

    Returns:
        The first corners of the holes from left to right, by the place of the edge's first corner.
    """
    # From top to bottom: (y, whether it is an edge, left end, right end, place of the corner).
    found = [(corners[hole][1], False, corners[hole][0], 0, hole) for hole in lasts if hole]
    for first, last in lasts.items():
        for place in range(first, last):
            (x, y), (other, level) = corners[place], corners[place + 1]
            if y == level:
                found.append((y, True, min(x, other), max(x, other), place))
    nearest = np.zeros(max(x for x, _ in corners), np.int64)
    cuts: dict[int, list[int]] = {}
    for _, is_edge, left, right, place in sorted(found):
        if is_edge:
            nearest[left:right] = place
        else:
            cuts.setdefault(int(nearest[left]), []).append(place)
    return {edge: sorted(holes, key=lambda hole: corners[hole]) for edge, holes in cuts.items()}
