"""The distance of neighboring cells' features, and its gradient.

Differences of features are not stored: the backward pass computes them again, so the memory needed
is that of the features. On CPUs they are compiled loops, which read the features of a few rows from
the cache; elsewhere torch computes one offset at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tag2mask.affinity.pairs import pair_ends, pair_offsets
from tag2mask.runtime.compiled import Team, compiled, compiled_reordering

Float32 = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.int64]


def pair_distance(features: Tensor, radius: int) -> Tensor:
    """Compute mean |f_i - f_j|, the mean over channels, of all pairs within a radius.

    Section 3.2 of https://arxiv.org/abs/1803.10464.

    Args:
        features: float32 (b, h, w, c), contiguous, differentiable.
        radius: radius of the pairs in cells; see `pair_offsets`.

    Returns:
        float32 (b, offsets, h, w), at the first end of each pair; 0 where the second end is outside
        the map.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.pair_distance import pair_distance
        >>> features = torch.tensor([0.0, 0.0, 2.0]).view(1, 1, 3, 1)
        >>> pair_distance(features, radius=2)[0, 0].tolist()  # to the cell to the right
        [[0.0, 2.0, 0.0]]
    """
    distance: Tensor = _PairDistance.apply(features, radius)
    return distance


class _PairDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(features)
        ctx.radius = radius
        batch, height, width, _ = features.shape
        offsets = pair_offsets(radius)
        distance = features.new_zeros(batch, len(offsets), height, width)
        if features.device.type != "cpu":
            _distances_by_offset(features, offsets, distance)
        elif distance.numel():
            loop = partial(_distances, features.detach().numpy(), offsets, distance.numpy())
            _in_threads(loop, batch * height)
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        offsets = pair_offsets(ctx.radius)
        gradient = gradient / features.shape[3]
        total = torch.zeros_like(features)
        if features.device.type != "cpu":
            _gradients_by_offset(features, offsets, gradient, total)
        elif gradient.numel():
            arrays = (features.detach().numpy(), offsets, gradient.contiguous().numpy())
            rows = features.shape[0] * features.shape[1]
            _in_threads(partial(_gradients, *arrays, total.numpy()), rows)
        return total, None


def _in_threads(loop: Callable[[int, int], None], rows: int) -> None:
    """Call a loop with ranges of the rows of all photos, one for each of torch's threads."""
    bounds = np.linspace(0, rows, torch.get_num_threads() + 1).astype(int).tolist()
    ranges = [(first, last) for first, last in pairwise(bounds) if first < last]
    with Team(len(ranges)) as team:
        team.run([partial(loop, first, last) for first, last in ranges])


@compiled_reordering
def _distances(
    features: Float32, offsets: Offsets, distance: Float32, first: int, last: int
) -> None:
    """Write the distances of the pairs whose first end is in rows first..last - 1 of all photos."""
    _, height, width, channels = features.shape
    share = np.float32(1.0 / channels)
    for row in range(first, last):
        photo = row // height
        y = row - photo * height
        for index in range(len(offsets)):
            dy, dx = offsets[index]
            if y + dy >= height:
                continue
            for x in range(max(0, -dx), min(width, width - dx)):
                one, other = features[photo, y, x], features[photo, y + dy, x + dx]
                total = np.float32(0)
                for channel in range(channels):
                    total += abs(one[channel] - other[channel])
                distance[photo, index, y, x] = total * share


@compiled
def _gradients(
    features: Float32, offsets: Offsets, gradient: Float32, total: Float32, first: int, last: int
) -> None:
    """Write the gradient of the features of rows first..last - 1 of all photos.

    A cell is the first end of some pairs and the second end of others. Each thread gathers both for
    its own cells, so that no two of them write to the same place.
    """
    _, height, width, channels = features.shape
    for row in range(first, last):
        photo = row // height
        y = row - photo * height
        for x in range(width):
            own, result = features[photo, y, x], total[photo, y, x]
            for index in range(2 * len(offsets)):
                pair = index // 2
                dy, dx = offsets[pair]
                if index % 2:
                    dy, dx = -dy, -dx
                if not (0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                if index % 2:
                    weight = gradient[photo, pair, y + dy, x + dx]
                else:
                    weight = gradient[photo, pair, y, x]
                if weight == 0:
                    continue
                other = features[photo, y + dy, x + dx]
                for channel in range(channels):
                    difference = own[channel] - other[channel]
                    # A choice of values, not of statements, becomes vector instructions.
                    part = weight if difference > 0 else -weight
                    result[channel] += part if difference != 0 else np.float32(0)


def _distances_by_offset(features: Tensor, offsets: Offsets, distance: Tensor) -> None:
    """Do as `_distances` for all rows, in torch."""
    size = (features.shape[1], features.shape[2])
    for index, (dy, dx) in enumerate(offsets.tolist()):
        first, second = pair_ends(size, dy, dx)
        difference = features[:, *first] - features[:, *second]
        distance[:, index][:, *first] = difference.abs_().mean(dim=3)


def _gradients_by_offset(
    features: Tensor, offsets: Offsets, gradient: Tensor, total: Tensor
) -> None:
    """Do as `_gradients` for all rows, in torch."""
    size = (features.shape[1], features.shape[2])
    for index, (dy, dx) in enumerate(offsets.tolist()):
        first, second = pair_ends(size, dy, dx)
        difference = features[:, *first] - features[:, *second]
        part = difference.sign_().mul_(gradient[:, index][:, *first][..., None])
        total[:, *first] += part
        total[:, *second] -= part
