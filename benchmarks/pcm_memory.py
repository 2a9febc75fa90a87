"""Peak memory of PCM, forward and backward: in tiles, compared with the full affinity matrix.

Each is measured in a separate process: `python -m benchmarks.pcm_memory tiles|dense H W`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Row
from benchmarks.peak import measured_apart, peak_kib
from tag2mask.seam.pcm import EPSILON, PUBLISHED_PCM, correlate

GRID = (94, 125)
"""11,750 positions: a photo of 750 x 1,000 px at stride 8."""
CHANNELS, FEATURES = 21, 192


def tiles_vs_dense(*, toy: bool = False) -> Row:
    """Compare the growth of peak memory, median of three processes each."""
    grid, times = ((12, 16), 1) if toy else (GRID, 3)
    ours, other = (
        [measured_apart("benchmarks.pcm_memory", kind, *grid)[0] for _ in range(times)]
        for kind in ("tiles", "dense")
    )
    return Row.of(ours, other, unit="MiB")


def dense(maps: Tensor, features: Tensor) -> Tensor:
    """Return PCM's product with the affinity of all pairs at once, as published."""
    keys = features.flatten(2)
    keys = keys / (keys.norm(dim=1, keepdim=True) + EPSILON)
    affinity = F.relu(keys.transpose(1, 2) @ keys)
    affinity = affinity / (affinity.sum(dim=1, keepdim=True) + EPSILON)
    return (maps.flatten(2) @ affinity).view_as(maps)


def peak_mib(kind: str, grid: tuple[int, int]) -> float:
    """Return the growth of this process's peak memory in one forward and backward pass, MiB."""
    torch.manual_seed(0)
    maps = torch.rand(1, CHANNELS, *grid)
    features = torch.randn(1, FEATURES, *grid, requires_grad=True)
    tiles = partial(correlate, power=PUBLISHED_PCM.power, block_mib=PUBLISHED_PCM.block_mib)
    function: Callable[[Tensor, Tensor], Tensor] = tiles if kind == "tiles" else dense
    small = features[:, :, :4, :4].detach().requires_grad_()
    # The first pass loads the libraries.
    function(maps[:, :, :4, :4], small).sum().backward()  # type: ignore[no-untyped-call]
    before = peak_kib()
    function(maps, features).square().sum().backward()  # type: ignore[no-untyped-call]
    return (peak_kib() - before) / 1024


if __name__ == "__main__":
    print(peak_mib(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]))))
