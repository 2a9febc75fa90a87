"""Time of a random walk by sparse steps, compared with the matrix of all pairs of cells.

The matrix is squared, as published, or applied step by step, which is faster for few maps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measure import Row, side_by_side
from tag2mask.affinity.pairs import existing_pairs, pair_offsets
from tag2mask.affinity.random_walk import random_walk

GRID = (47, 63)
"""A photo of 375 x 500 px at stride 8."""
RADIUS, BETA, SQUARINGS = 5, 8.0, 6
CHANNELS = 21
"""Background and all of VOC's classes, as published; a photo has two to four of them."""


def vs_squared(*, toy: bool = False) -> Row:
    """Compare 2^6 = 64 steps with squaring the matrix six times."""
    return _compare(squared, toy=toy)


def vs_steps(*, toy: bool = False) -> Row:
    """Compare 64 sparse steps with 64 products of the maps and the matrix."""
    return _compare(dense_steps, toy=toy)


def _compare(other: Callable[[Tensor, Tensor], Tensor], *, toy: bool) -> Row:
    """Compare our walk with another on one thread, from affinities to walked maps."""
    affinity, maps = affinity_and_maps((9, 11) if toy else GRID)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return side_by_side(
            lambda: walk(affinity, maps), lambda: other(affinity, maps), seconds=0 if toy else 10
        )
    finally:
        torch.set_num_threads(threads)


def affinity_and_maps(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return random affinities (offsets, h, w) and maps (k, h, w)."""
    torch.manual_seed(0)
    exist = torch.from_numpy(existing_pairs(grid, RADIUS, published=False))
    return torch.rand(exist.shape) * exist, torch.rand(CHANNELS, *grid)


def walk(affinity: Tensor, maps: Tensor) -> Tensor:
    """Walk by sparse steps, as `tag2mask` does."""
    return random_walk(affinity, maps, radius=RADIUS, beta=BETA, steps=2**SQUARINGS)


def squared(affinity: Tensor, maps: Tensor) -> Tensor:
    """Walk as published: by a dense float32 matrix, squared log2 t times."""
    matrix = transitions(affinity)
    for _ in range(SQUARINGS):
        matrix = matrix @ matrix
    return (maps.flatten(1) @ matrix).view_as(maps)


def dense_steps(affinity: Tensor, maps: Tensor) -> Tensor:
    """Walk by applying the dense float32 matrix 2^6 times."""
    matrix, walked = transitions(affinity), maps.flatten(1)
    for _ in range(2**SQUARINGS):
        walked = walked @ matrix
    return walked.view_as(maps)


def transitions(affinity: Tensor) -> Tensor:
    """Return the transition matrix of all pairs of cells, (h * w, h * w); columns sum to 1."""
    _, height, width = affinity.shape
    cells = height * width
    matrix = torch.eye(cells)
    offset, y, x = affinity.nonzero(as_tuple=True)
    dy, dx = torch.from_numpy(pair_offsets(RADIUS))[offset].T
    first, second = y * width + x, (y + dy) * width + x + dx
    matrix[first, second] = matrix[second, first] = affinity[offset, y, x] ** BETA
    return matrix / matrix.sum(dim=0)
