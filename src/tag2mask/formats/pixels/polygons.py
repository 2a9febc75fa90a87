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
    """Yield the closed outlines of one part: the outer one first, then its holes."""
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
    """Return an outline with its holes as one polygon."""
    polygon, *holes = loops
    for hole in sorted(holes, key=lambda loop: min((y, x) for x, y in loop)):
        start = hole.index(min(hole, key=lambda corner: (corner[1], corner[0])))
        x, y = hole[start]
        after, above = _edge_above(polygon, x, y)
        cut = [(x, above)] if polygon[after] != (x, above) else []
        back = [(x, above)] if polygon[(after + 1) % len(polygon)] != (x, above) else []
        inner = [*hole[start:], *hole[:start], (x, y)]
        polygon = [*polygon[: after + 1], *cut, *inner, *back, *polygon[after + 1 :]]
    return polygon


def _edge_above(polygon: list[Corner], x: int, y: int) -> tuple[int, int]:
    """Return the nearest horizontal edge above a point: its first corner's index, and its y."""
    corners = np.array(polygon)
    following = np.roll(corners, -1, axis=0)
    low = np.minimum(corners[:, 0], following[:, 0])
    high = np.maximum(corners[:, 0], following[:, 0])
    level = corners[:, 1]
    spans = (level == following[:, 1]) & (low <= x) & (x < high) & (level < y)
    index = int(np.where(spans, level, -1).argmax())
    return index, int(level[index])
