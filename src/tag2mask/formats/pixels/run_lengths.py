"""Run lengths of pixels: how many are outside and inside in turn, beginning with outside.

COCO counts along the columns of a photo, CVAT along the rows of a region's box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 1_000_000_000
"""Pixels of the largest photo that is read; a damaged size must not take all memory."""


def run_lengths(pixels: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of pixels in one row, ``(n,)``; the first is 0 if it begins inside.

    >>> run_lengths(np.array([True, True, False]))
    [0, 2, 1]
    """
    ends = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    first = [0] if pixels.size and pixels[0] else []
    return [*first, *map(int, np.diff(ends, prepend=0, append=pixels.size))]


def pixels_of_runs(runs: Sequence[int], count: int) -> NDArray[np.bool_]:
    """Return the pixels ``(count,)`` of run lengths.

    Raises:
        ValueError: a negative length, or they don't come to ``count`` pixels.
    """
    if min(runs, default=0) < 0:
        raise ValueError("a run length is negative")
    if sum(runs) != count:
        raise ValueError(f"run lengths of {sum(runs)} pixels instead of {count}")
    if count > MOST_PIXELS:
        raise ValueError(f"{count} pixels are more than a photo has")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)
