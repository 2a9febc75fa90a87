"""Pairs of neighboring cells within a radius.

AffinityNet (Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464, section 3.2) compares each
cell with those closer than a radius. The authors' code is ``get_indices_of_pairs`` in
``tool/pyutils.py`` of https://github.com/jiwoon-ahn/psa.

Each pair is listed once, at the cell that comes first in reading order. So a value for every pair
is an array (offsets, h, w): entry [o, y, x] belongs to the cells (y, x) and (y + dy, x + dx), with
(dy, dx) the offset o of `pair_offsets`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ends = tuple[slice, slice]


def pair_offsets(radius: int) -> npt.NDArray[np.int64]:
    """Return the offsets (dy, dx) of the pairs, in reading order (section 3.2).

    Args:
        radius: >= 1, in cells; the two cells of a pair are closer than this. 5, as published, gives
            34 offsets, 1 none.

    Returns:
        int64 (n, 2): the offsets within the circle that come after (0, 0) in reading order.

    Example:
        >>> from tag2mask.affinity.pairs import pair_offsets
        >>> pair_offsets(2).tolist()
        [[0, 1], [1, -1], [1, 0], [1, 1]]
        >>> len(pair_offsets(5))
        34
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
    """Return the slices (rows, columns) of the first and of the second ends of one offset's pairs.

    Args:
        size: (h, w) of the map; both ends are inside, so the slices may be empty.
        dy: row offset, >= 0.
        dx: column offset, of either sign.
    """
    rows, columns = max(0, size[0] - dy), max(0, size[1] - abs(dx))
    left, right = max(0, -dx), max(0, dx)
    return (
        (slice(rows), slice(left, left + columns)),
        (slice(dy, dy + rows), slice(right, right + columns)),
    )


def existing_pairs(size: tuple[int, int], radius: int, *, published: bool) -> npt.NDArray[np.bool_]:
    """Return which pairs exist on a map.

    Args:
        size: (h, w) of the map.
        radius: see `pair_offsets`; may exceed the map.
        published: the rule of the authors' code: cells within radius - 1 of the left, right and
            bottom border are never first ends. False: every pair with both ends inside the map.

    Returns:
        bool (offsets, h, w), at the first end of each pair.

    Example:
        >>> from tag2mask.affinity.pairs import existing_pairs
        >>> existing_pairs((2, 3), 2, published=False).sum(axis=(1, 2)).tolist()
        [4, 2, 3, 2]
        >>> existing_pairs((2, 3), 2, published=True).sum(axis=(1, 2)).tolist()
        [1, 1, 1, 1]
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
    """Return the value at each pair's second end, stored at its first end.

    Args:
        values: (b, h, w) of any dtype.
        radius: see `pair_offsets`.
        outside: value of second ends outside the map.

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
    """Return the radius to use on a map of a given size.

    Args:
        size: (h, w) of the map.
        radius: the radius wanted, in cells.
        published: the rule of the authors' code: (edge - 1) // 2 if the shorter edge is below
            2 · radius + 1, as no pair would be left otherwise. False: at most the longer edge,
            as there are no longer pairs.

    Returns:
        The radius, at least 1. With 1 there are no pairs, and a walk changes nothing.
    """
    if not published:
        return min(radius, max(size))
    edge = min(size)
    return max(1, (edge - 1) // 2) if edge < 2 * radius + 1 else radius
