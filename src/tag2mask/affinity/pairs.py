"""Pairs of neighboring cells: which there are within a radius, and where their ends lie.

AffinityNet (Ahn and Kwak, CVPR 2018, section 3.2) compares each cell with those at a distance
below a radius. Each pair is listed once, from the cell that comes first in reading order, so a
value for every pair is an array (offsets, h, w): entry [o, y, x] belongs to (y, x) and
(y + dy, x + dx).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ends = tuple[slice, slice]


def pair_offsets(radius: int) -> npt.NDArray[np.int64]:
    """Offsets (dy, dx) of the pairs, in reading order, as published.

    Args:
        radius: >= 1; pairs lie strictly closer. 5 gives 34 offsets, 1 none.

    Returns:
        int64 (n, 2): the half plane after (0, 0) within the circle.
    """
    assert radius >= 1, radius
    reach = range(1 - radius, radius)
    offsets = [
        (dy, dx)
        for dy in range(radius)
        for dx in reach
        if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius
    ]
    return np.array(offsets, np.int64).reshape(-1, 2)


def pair_ends(size: tuple[int, int], dy: int, dx: int) -> tuple[Ends, Ends]:
    """Slices (rows, columns) of the first and of the second ends of one offset's pairs.

    Args:
        size: (h, w) of the map; both ends lie inside, so there may be none.
        dy: >= 0.
        dx: of either sign.
    """
    rows, columns = max(0, size[0] - dy), max(0, size[1] - abs(dx))
    left, right = max(0, -dx), max(0, dx)
    return (
        (slice(rows), slice(left, left + columns)),
        (slice(dy, dy + rows), slice(right, right + columns)),
    )


def sources(size: tuple[int, int], radius: int, *, published: bool) -> npt.NDArray[np.bool_]:
    """Tell which pairs there are.

    Args:
        size: (h, w) of the map.
        radius: see `pair_offsets`; may exceed the map.
        published: the published rule, by which cells within radius - 1 of the left, right and
            bottom border are never the first end; False: every pair with both ends inside the map.

    Returns:
        bool (offsets, h, w).
    """
    height, width = size
    offsets = pair_offsets(radius)
    exist = np.zeros((len(offsets), height, width), np.bool_)
    if published:
        border = radius - 1
        exist[:, : max(0, height - border), border : max(border, width - border)] = True
        return exist
    for one, (dy, dx) in zip(exist, offsets.tolist(), strict=True):
        first, _ = pair_ends(size, dy, dx)
        one[first] = True
    return exist


def second_ends(values: Tensor, radius: int, *, outside: float) -> Tensor:
    """Bring each pair's second end to its first.

    Args:
        values: (b, h, w) of any dtype.
        radius: see `pair_offsets`.
        outside: what is read beyond the map.

    Returns:
        (b, offsets, h, w) of the same dtype.
    """
    batch, height, width = values.shape
    offsets = pair_offsets(radius).tolist()
    ends = torch.full(
        (batch, len(offsets), height, width), outside, dtype=values.dtype, device=values.device
    )
    for index, (dy, dx) in enumerate(offsets):
        first, second = pair_ends((height, width), dy, dx)
        ends[:, index][:, *first] = values[:, *second]
    return ends


def usable_radius(size: tuple[int, int], radius: int, *, published: bool = False) -> int:
    """The radius to use on a map of this size.

    Args:
        size: (h, w) of the map.
        radius: wanted.
        published: the published rule, without which its pairs would vanish: (edge - 1) // 2 where
            the shorter edge is below 2 · radius + 1; False: no more than the longer edge, beyond
            which there are no pairs anyway.

    Returns:
        At least 1, at which there are no pairs and a walk changes nothing.
    """
    if not published:
        return min(radius, max(size))
    edge = min(size)
    return max(1, (edge - 1) // 2) if edge < 2 * radius + 1 else radius
