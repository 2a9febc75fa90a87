"""The random walk that spreads maps along affinities: exact, with a sparse matrix.

Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464), section 3.3. The authors' code is
``infer_aff.py`` of https://github.com/jiwoon-ahn/psa, and SEAM's copy of it. With A^β the
affinities to the power β, element by element, 1 on the diagonal and 0 for cells that form no pair::

    T = A^β D⁻¹,  D_jj = Σ_i A_ij^β        walked map = map · T^t

The authors' code squares the N x N matrix T log₂ t times. Here T is a sparse matrix (69 entries per
row at radius 5) that is applied t times to the maps, which gives the same numbers in memory linear
in N.

Where all pairs of cells have an affinity, as of the attention of a ViT, T is the matrix of all
pairs (`DenseWalk`).

A^β is symmetric, so one step replaces each cell by the mean of its neighborhood, weighted by its
own affinities. These weights are a row of Tᵀ, the matrix that is stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from tag2mask.affinity.pairs import pair_ends, pair_offsets

_WIDTH = 4
"""MKL uses vector instructions only if the number of columns is a multiple of this."""

_SINGLE_STEPS = 64
"""Largest number of steps in float32, whose rounding error is up to 1e-7 per step. Longer walks run
in float64."""

with warnings.catch_warnings():
    # torch warns once per process that the layout is in beta; only its product is needed here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 1], [0], [1.0], size=(1, 1), check_invariants=False)


def random_walk(affinity: Tensor, maps: Tensor, *, radius: int, beta: float, steps: int) -> Tensor:
    """Spread maps along affinities by a random walk.

    Section 3.3 of https://arxiv.org/abs/1803.10464. Formula, with A^β taken element by element::

        walked map = map · T^t,  T = A^β D⁻¹,  D_jj = Σ_i A_ij^β

    Published: β = 8; t = 2^6 = 64 steps in SEAM, 2^8 in psa. The maps are the background
    (1 - max)^α, with α = 6 in SEAM and 16 in psa, and the foreground CAMs, on the affinity's grid.

    Args:
        affinity: (offsets, h, w) in [0, 1], as `pair_affinity` returns it; 0 where there is no
            pair.
        maps: (k, h, w), background and foreground.
        radius: radius of the pairs in cells.
        beta: exponent of the affinities, > 0; larger values keep maps from crossing weak ones.
        steps: number t of steps; 0 leaves the maps unchanged.

    Returns:
        float32 (k, h, w) on the affinity's device.

    Example:
        Cells 0 and 1 have affinity 1, cells 1 and 2 almost none. The score of cell 0 spreads to
        cell 1.

        >>> import torch
        >>> from tag2mask.affinity.random_walk import random_walk
        >>> affinity = torch.zeros(4, 1, 3)  # 4 offsets at radius 2, the first to the right
        >>> affinity[0] = torch.tensor([[1.0, 0.1, 0.0]])
        >>> maps = torch.tensor([[[1.0, 0.0, 0.0]]])
        >>> random_walk(affinity, maps, radius=2, beta=8, steps=64).round(decimals=3)
        tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    return RandomWalk(affinity, radius=radius, beta=beta).run(maps, steps=steps)


class Walk:
    """A random walk whose transition matrix serves several maps and numbers of steps.

    Args:
        transition: float64 (N, N), takes maps (N, k) one step further; its rows sum to 1.
        size: (h, w) of the maps, N cells.
        device: of the walked maps.
    """

    def __init__(self, transition: Tensor, size: tuple[int, int], device: torch.device) -> None:
        self._transition = transition
        self.size = size
        self.device = device

    def run(self, maps: Tensor, *, steps: int) -> Tensor:
        """Return maps (k, h, w) after a number of steps, float32 (k, h, w)."""
        return self.run_each(maps, steps=[steps])[0]

    @torch.no_grad()
    def run_each(self, maps: Tensor, *, steps: Sequence[int]) -> list[Tensor]:
        """Return maps after each of several numbers of steps, from a single walk.

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
        rows = maps.flatten(1).T.to(transition.device).to(precision)  # (N, k)
        columns = max(1, -(-channels // _WIDTH)) * _WIDTH
        walked = rows.new_zeros(len(rows), columns)
        walked[:, :channels] = rows
        done = 0
        found: dict[int, Tensor] = {}
        for step in sorted(set(steps)):
            for _ in range(step - done):
                walked = transition @ walked  # (N, N) @ (N, columns)
            done = step
            found[step] = walked[:, :channels].T.reshape(maps.shape).float().to(self.device)
        return [found[step] for step in steps]


class RandomWalk(Walk):
    """A random walk along the affinities of neighbors; its transition matrix is sparse.

    Args:
        affinity: (offsets, h, w), see `random_walk`. On CUDA the walk runs there; on other
            accelerators, which lack sparse products, on the CPU.
        radius: radius of the pairs in cells.
        beta: exponent of the affinities, > 0.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.random_walk import RandomWalk
        >>> affinity = torch.zeros(4, 1, 2)
        >>> affinity[0, 0, 0] = 1.0
        >>> walk = RandomWalk(affinity, radius=2, beta=8)
        >>> maps = torch.tensor([[[1.0, 0.0]]])
        >>> [walked.flatten().tolist() for walked in walk.run_each(maps, steps=[0, 1])]
        [[1.0, 0.0], [0.5, 0.5]]
    """

    @torch.no_grad()
    def __init__(self, affinity: Tensor, *, radius: int, beta: float) -> None:
        assert affinity.ndim == 3 and beta > 0, (affinity.shape, beta)
        transition = _transition(_on_walking_device(affinity).double(), radius, beta)
        super().__init__(transition, (affinity.shape[1], affinity.shape[2]), affinity.device)


class DenseWalk(Walk):
    """A random walk along the affinities of all pairs of cells.

    With A the affinities::

        walked map = map · T^t,  T = A D⁻¹,  D_jj = Σ_i A_ij

    Args:
        affinity: (N, N), symmetric, >= 0, with no row of zeros.
        size: (h, w) of the maps, N cells.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.random_walk import DenseWalk
        >>> walk = DenseWalk(torch.tensor([[3.0, 1.0], [1.0, 1.0]]), (1, 2))
        >>> walk.run(torch.tensor([[[1.0, 0.0]]]), steps=1)
        tensor([[[0.7500, 0.5000]]])
    """

    @torch.no_grad()
    def __init__(self, affinity: Tensor, size: tuple[int, int]) -> None:
        assert affinity.shape == (size[0] * size[1],) * 2, (affinity.shape, size)
        transition = _on_walking_device(affinity).double()
        super().__init__(transition / transition.sum(dim=1, keepdim=True), size, affinity.device)


def _on_walking_device(affinity: Tensor) -> Tensor:
    """Return affinities where the walk runs: other accelerators than CUDA have no float64."""
    return affinity if affinity.device.type == "cuda" else affinity.cpu()


def _transition(affinity: Tensor, radius: int, beta: float) -> Tensor:
    """Return the sparse matrix (N, N) that takes maps (N, k) one step further; its rows sum to 1.

    Computed in float64: float32 rounding errors in the row sums would accumulate over the steps.
    """
    offsets = pair_offsets(radius).tolist()
    count, height, width = affinity.shape
    assert count == len(offsets), f"{count} offsets; radius {radius} has {len(offsets)}"
    # Weights of each cell's neighbors in reading order: before it, itself, after it.
    weights = affinity.new_zeros(2 * count + 1, height, width)
    weights[count] = 1.0
    for index, (dy, dx) in enumerate(offsets):
        first, second = pair_ends((height, width), dy, dx)
        powered = affinity[index][first] ** beta
        weights[count + 1 + index][first] = powered
        weights[count - 1 - index][second] = powered
    # Found before the division, as a NaN would turn the zeros outside the map into NaN too.
    present = weights.flatten(1).T != 0  # (N, 2 · offsets + 1)
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
    starts[1:] = present.sum(dim=1).cumsum(dim=0)
    return torch.sparse_csr_tensor(
        starts,
        neighbors.masked_select(present),
        by_cell.masked_select(present),
        size=(cells, cells),
        check_invariants=False,
    )
