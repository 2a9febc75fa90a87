"""Pixel correlation module: refine each CAM with the photo's own low-level appearance.

SEAM (Wang et al., CVPR 2020), section 3.3. Against standard self-attention it has no residual, no
separate query, key and value embeddings, and a ReLU with an L1 norm in the softmax's place.
Everything enters detached, so only the three 1x1 convolutions learn from it.

The affinity of N positions is an N x N matrix. It is exact here at any size: square tiles of it
are computed one after the other, within a stated amount of memory, in training too (the backward
pass computes each tile again). It is symmetric before it is normalized, so a tile off the diagonal
serves two blocks of columns, and nearly half of all tiles are never computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tag2mask.nn.masked_resize import cells_inside, resize

EPSILON = 1e-5
_COPIES = 2.25
"""Tiles that live at once in the backward pass: similarity, its gradient, and a mask of bytes."""
_CPU_TILE = 512
"""Side of a tile that stays in a CPU's cache between its products."""
_LEAST_TILE = 64
"""Below this side the calls take longer than the products, and there is no memory left to save."""


def pcm_input(cam: Tensor, *, tags: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
    """Turn raw CAMs into the map that PCM spreads (no gradient).

    ReLU; each channel divided by its maximum; background = 1 - largest foreground; of the
    foreground only the largest channel at each position stays.

    Args:
        cam: raw maps, (b, C+1, h, w); channel 0, the background, is not read.
        tags: float or bool (b, C); given, absent classes don't compete (the paper lets them).
        valid: bool (b, h, w), False on padding; None: all valid.

    Returns:
        Float map in [0, 1], (b, C+1, h, w), zero on padding.
    """
    with torch.no_grad():
        foreground = F.relu(cam[:, 1:].detach().float())
        if tags is not None:
            foreground = foreground * tags[:, :, None, None].to(foreground.dtype)
        if valid is not None:
            foreground = foreground * valid[:, None]
        peak = foreground.amax(dim=(2, 3), keepdim=True) + EPSILON
        foreground = F.relu(foreground - EPSILON) / peak
        largest = foreground.amax(dim=1, keepdim=True)
        foreground = torch.where(foreground < largest, 0.0, foreground)
        background = 1 - largest
        if valid is not None:
            background = background * valid[:, None]
        return torch.cat([background, foreground], dim=1)


def correlate(maps: Tensor, features: Tensor, *, power: float = 1.0, block_mib: int = 64) -> Tensor:
    """Spread maps along the cosine similarity of features: maps · affinity.

    affinity = ReLU(cosine of all pairs of positions)^power, each column divided by its sum + 1e-5.
    Positions whose features are all zero (padding) give and receive nothing.

    Args:
        maps: (b, c, h, w), no gradient flows into them.
        features: (b, d, h, w); gradients flow.
        power: exponent of the similarity. Published: 1. More keeps a map from spreading to what is
            merely alike (AffinityNet's walk sharpens its affinity in the same way).
        block_mib: memory for the affinity at once, MiB; larger ones are computed in exact tiles.

    Returns:
        Refined maps, (b, c, h, w), of the features' dtype.
    """
    batch, channels, height, width = maps.shape
    positions = height * width
    keys = features.flatten(2)
    keys = keys / (torch.linalg.vector_norm(keys, dim=1, keepdim=True) + EPSILON)
    if torch.is_autocast_enabled(keys.device.type):
        keys = keys.to(torch.get_autocast_dtype(keys.device.type))
    # One more row of ones makes the same product give the column sums: the affinity is read once.
    values = torch.cat([maps.detach().flatten(2), maps.new_ones(batch, 1, positions)], dim=1)
    spread: Tensor = _Spread.apply(values.to(keys.dtype), keys, power, _tile(keys, block_mib))
    refined = spread[:, :-1] / (spread[:, -1:] + EPSILON)
    return refined.view(batch, channels, height, width)


class _Spread(torch.autograd.Function):
    """values · relu(keysᵀ keys)^power, by tiles, in buffers that are used again.

    Not ``torch.utils.checkpoint``: its blocks leave memory behind that grows with the number of
    blocks.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, keys: Tensor, power: float, side: int) -> Tensor:
        """(b, c, N), (b, d, N) -> (b, c, N)."""
        ctx.save_for_backward(values, keys)
        ctx.power, ctx.side = power, side
        spread = _zeros(values)
        keys_of, values_of = _blocks(keys, side), _blocks(values, side)
        spread_of = torch.split(spread, side, dim=2)
        buffer = _buffer(keys, side)
        for row, column in _tiles(len(keys_of)):
            similarity = _product(keys_of[row].mT, keys_of[column], buffer).relu_()
            if power != 1.0:
                similarity.pow_(power)
            spread_of[column].add_(torch.bmm(values_of[row], similarity))
            if row != column:
                spread_of[row].add_(torch.bmm(values_of[column], similarity.mT))
        return spread.to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        """Gradient of the keys; each tile of the similarity is computed again."""
        values, keys = ctx.saved_tensors
        total = _zeros(keys)
        keys_of, total_of = _blocks(keys, ctx.side), torch.split(total, ctx.side, dim=2)
        # A pair of positions counts twice, either one as a column: one product gives the sum.
        left_of = _blocks(torch.cat([values, gradient], dim=1), ctx.side)
        right_of = _blocks(torch.cat([gradient, values], dim=1), ctx.side)
        first, second = _buffer(keys, ctx.side), _buffer(keys, ctx.side)
        for row, column in _tiles(len(keys_of)):
            similarity = _product(keys_of[row].mT, keys_of[column], first)
            outside = similarity <= 0
            back = _product(left_of[row].mT, right_of[column], second)
            if ctx.power != 1.0:
                back.mul_(similarity.clamp_(min=EPSILON).pow_(ctx.power - 1).mul_(ctx.power))
            back.masked_fill_(outside, 0.0)
            total_of[column].add_(torch.bmm(keys_of[row], back))
            if row != column:
                total_of[row].add_(torch.bmm(keys_of[column], back.mT))
        return None, total.to(keys.dtype), None, None


def _tile(keys: Tensor, block_mib: int) -> int:
    """Side of the tiles, positions."""
    pair_bytes = _COPIES * keys.shape[0] * keys.element_size()
    side = max(_LEAST_TILE, math.isqrt(int(block_mib * 2**20 / pair_bytes)))
    if keys.device.type == "cpu":
        side = min(side, _CPU_TILE)
    return min(side, keys.shape[2])


def _tiles(blocks: int) -> Iterator[tuple[int, int]]:
    """(row, column) of the tiles on the diagonal and above."""
    return combinations_with_replacement(range(blocks), 2)


def _blocks(tensor: Tensor, side: int) -> list[Tensor]:
    """Runs of positions (b, c, up to side), each contiguous for the products."""
    return [block.contiguous() for block in torch.split(tensor, side, dim=2)]


def _zeros(like: Tensor) -> Tensor:
    """To sum tiles in, in single precision at least."""
    return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))


def _buffer(keys: Tensor, side: int) -> Tensor:
    return keys.new_empty(keys.shape[0] * side * side)


def _product(left: Tensor, right: Tensor, buffer: Tensor) -> Tensor:
    """Batched matrix product, written into a buffer that may be too long."""
    shape = (left.shape[0], left.shape[1], right.shape[2])
    return torch.bmm(left, right, out=buffer[: math.prod(shape)].view(shape))


class PixelCorrelation(nn.Module):
    """PCM on two mid-level feature maps and the image.

    Args:
        low_channels: channels of the finer feature map (conv4 of ResNet-38: 512).
        mid_channels: channels of the coarser one (conv5: 1024).
        channels: embedding channels of the two (published: 64 and 128).
        power: see `correlate`.
        block_mib: see `correlate`.
    """

    def __init__(
        self,
        low_channels: int,
        mid_channels: int,
        *,
        channels: tuple[int, int] = (64, 128),
        power: float = 1.0,
        block_mib: int = 64,
    ) -> None:
        super().__init__()
        low, mid = channels
        self.embed_low = nn.Conv2d(low_channels, low, 1, bias=False)
        self.embed_mid = nn.Conv2d(mid_channels, mid, 1, bias=False)
        self.fuse = nn.Conv2d(3 + low + mid, low + mid, 1, bias=False)
        self.power = power
        self.block_mib = block_mib
        nn.init.kaiming_normal_(self.embed_low.weight)
        nn.init.kaiming_normal_(self.embed_mid.weight)
        nn.init.xavier_uniform_(self.fuse.weight, gain=4)

    def forward(
        self, maps: Tensor, low: Tensor, mid: Tensor, image: Tensor, *, valid: Tensor | None = None
    ) -> Tensor:
        """Refine maps.

        Args:
            maps: output of `pcm_input` on the grid of the result, (b, c, h, w).
            low: finer feature map, (b, c_low, h1, w1); detached here.
            mid: coarser feature map, (b, c_mid, h2, w2); detached here.
            image: the normalized input image, (b, 3, H, W).
            valid: bool (b, H, W), False on the image's padding; None: all valid.

        Returns:
            Refined maps, (b, c, h, w).
        """
        size = maps.shape[2:]
        features = torch.cat(
            [
                resize(image, size, valid),
                resize(F.relu(self.embed_low(low.detach())), size, valid),
                resize(F.relu(self.embed_mid(mid.detach())), size, valid),
            ],
            dim=1,
        )
        inside = None if valid is None else cells_inside(valid, size)
        return self.refine(maps, features, valid=inside)

    def refine(self, maps: Tensor, features: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """The module from the concatenated features on.

        Args:
            maps: as for `forward`, (b, c, h, w).
            features: image and both embeddings, (b, 3 + low + mid, h, w).
            valid: bool (b, h, w) on the maps' grid; None: all valid.

        Returns:
            Refined maps, (b, c, h, w).
        """
        fused = self.fuse(features)
        if valid is not None:
            fused = fused * valid[:, None]
        return correlate(maps, fused, power=self.power, block_mib=self.block_mib)
