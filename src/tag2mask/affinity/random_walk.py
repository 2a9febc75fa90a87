"""Random walk on a map's cells, led by their affinities: exact and sparse.

AffinityNet (Ahn and Kwak, CVPR 2018, section 3.3): T = D⁻¹ A^β, with A^β the affinities to the
power β element by element, 1 on the diagonal and 0 for cells that form no pair, and D its column
sums; a map m becomes m · T^t. The published code squares the N x N matrix T log₂ t times; here T is
a sparse matrix (69 entries a row at radius 5) that t multiplications apply to the maps, which gives
the same numbers in memory linear in N.

A^β is symmetric, so a step replaces each cell by the mean of its neighborhood, weighted by its own
affinities: a row of T transposed, which is what is stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from tag2mask.affinity.pairs import pair_ends, pair_offsets, usable_radius

__all__ = ["Walk", "random_walk", "usable_radius"]

_WIDTH = 4
"""MKL multiplies by 4, 8, ... columns with vectors, by other numbers of columns without."""

_SINGLE_STEPS = 64
"""Most steps in float32, which a map of large values can lose up to 1e-7 a step to; more steps are
taken in float64."""

with warnings.catch_warnings():
    # torch warns once a process that the layout is in beta; walks need nothing but its product.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 1], [0], [1.0], size=(1, 1), check_invariants=False)


def random_walk(affinity: Tensor, maps: Tensor, *, radius: int, beta: float, steps: int) -> Tensor:
    """Spread maps along affinities.

    Args:
        affinity: (offsets, h, w) in [0, 1], as `pixel_pairs` orders them; 0 where there is no pair.
        maps: (k, h, w), background and foreground alike.
        radius: of the pairs.
        beta: exponent of the affinities, > 0; the larger, the less maps cross weak ones.
        steps: multiplications t; 0 changes nothing.

    Returns:
        float32 (k, h, w) on the affinity's device.
    """
    return Walk(affinity, radius=radius, beta=beta).run(maps, steps=steps)


class Walk:
    """A walk prepared once for several maps and numbers of steps.

    Args:
        affinity: (offsets, h, w), see `random_walk`. On CUDA the walk runs there; on other
            accelerators, which lack sparse products, on the CPU.
        radius: of the pairs.
        beta: exponent, > 0.
    """

    @torch.no_grad()
    def __init__(self, affinity: Tensor, *, radius: int, beta: float) -> None:
        assert affinity.ndim == 3 and beta > 0, (affinity.shape, beta)
        self.device = affinity.device
        self.size = (affinity.shape[1], affinity.shape[2])
        if self.device.type != "cuda":
            affinity = affinity.cpu()
        self._transition = _transition(affinity.double(), radius, beta)

    def run(self, maps: Tensor, *, steps: int) -> Tensor:
        """Maps (k, h, w) after some steps, float32 (k, h, w)."""
        return self.at(maps, steps=[steps])[0]

    @torch.no_grad()
    def at(self, maps: Tensor, *, steps: Sequence[int]) -> list[Tensor]:
        """Maps (k, h, w) after each of several numbers of steps, in one walk.

        Args:
            maps: (k, h, w).
            steps: numbers of steps, >= 0, in any order.

        Returns:
            float32 (k, h, w) for each number, on the affinity's device.
        """
        assert maps.ndim == 3 and tuple(maps.shape[1:]) == self.size, (maps.shape, self.size)
        assert all(step >= 0 for step in steps), steps
        channels = len(maps)
        precision = torch.float32 if max(steps, default=0) <= _SINGLE_STEPS else torch.float64
        transition = self._transition.to(precision)
        rows = maps.flatten(1).T.to(transition.device).to(precision)
        columns = max(1, -(-channels // _WIDTH)) * _WIDTH
        walked = rows.new_zeros(len(rows), columns)
        walked[:, :channels] = rows
        done = 0
        found: dict[int, Tensor] = {}
        for step in sorted(set(steps)):
            for _ in range(step - done):
                walked = transition @ walked
            done = step
            found[step] = walked[:, :channels].T.reshape(maps.shape).float().to(self.device)
        return [found[step] for step in steps]


def _transition(affinity: Tensor, radius: int, beta: float) -> Tensor:
    """The sparse N x N matrix that takes maps (N, k) one step further; its rows sum to 1.

    Made in float64: sums that are off by a rounding error of float32 would show after some steps.
    """
    offsets = pair_offsets(radius).tolist()
    count, height, width = affinity.shape
    assert count == len(offsets), f"{count} offsets; radius {radius} has {len(offsets)}"
    # Weights of each cell's neighbors in reading order: those before it, itself, those after it.
    weights = affinity.new_zeros(2 * count + 1, height, width)
    weights[count] = 1.0
    for index, (dy, dx) in enumerate(offsets):
        first, second = pair_ends((height, width), dy, dx)
        powered = affinity[index][first] ** beta
        weights[count + 1 + index][first] = powered
        weights[count - 1 - index][second] = powered
    # Before the division, by which NaN spreads to neighbors outside the map.
    there = weights.flatten(1).T != 0
    weights /= weights.sum(dim=0)
    after = [dy * width + dx for dy, dx in offsets]
    shifts = torch.tensor(
        [*(-shift for shift in reversed(after)), 0, *after],
        dtype=torch.int32,
        device=affinity.device,
    )
    by_cell = weights.flatten(1).T
    cells = height * width
    neighbors = torch.arange(cells, dtype=torch.int32, device=affinity.device)[:, None] + shifts
    starts = torch.zeros(cells + 1, dtype=torch.int32, device=affinity.device)
    starts[1:] = there.sum(dim=1).cumsum(dim=0)
    return torch.sparse_csr_tensor(
        starts,
        neighbors.masked_select(there),
        by_cell.masked_select(there),
        size=(cells, cells),
        check_invariants=False,
    )
