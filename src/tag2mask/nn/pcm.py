"""Pixel correlation module: refine each CAM with the photo's own low-level appearance.

SEAM (Wang et al., CVPR 2020), section 3.3. Against standard self-attention it has no residual, no
separate query, key and value embeddings, and a ReLU with an L1 norm in the softmax's place.
Everything enters detached, so only the three 1x1 convolutions learn from it.

The affinity of N positions is an N x N matrix. It is exact here at any size: columns are computed
in blocks that fit a stated amount of memory, in training too (the backward pass computes each block
again).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tag2mask.nn.grids import cells_inside, resize

EPSILON = 1e-5
_COPIES = 2.25
"""Blocks that live at once in the backward pass: similarity, its gradient, and a mask of bytes."""


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


def correlate(maps: Tensor, features: Tensor, *, power: float = 1.0,
              block_mib: int = 64) -> Tensor:
    """Spread maps along the cosine similarity of features: maps · affinity.

    affinity = ReLU(cosine of all pairs of positions)^power, each column divided by its sum + 1e-5.
    Positions whose features are all zero (padding) give and receive nothing.

    Args:
        maps: (b, c, h, w), no gradient flows into them.
        features: (b, d, h, w); gradients flow.
        power: exponent of the similarity. Published: 1. More keeps a map from spreading to what is
            merely alike (AffinityNet's walk sharpens its affinity in the same way).
        block_mib: memory for the affinity at once, MiB; larger ones are computed in exact blocks.

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
    column_bytes = _COPIES * batch * positions * keys.element_size()
    columns = min(positions, max(1, int(block_mib * 2**20 / column_bytes)))
    spread: Tensor = _Spread.apply(values.to(keys.dtype), keys, power, columns)
    refined = spread[:, :-1] / (spread[:, -1:] + EPSILON)
    return refined.view(batch, channels, height, width)


class _Spread(torch.autograd.Function):
    """values · relu(keysᵀ keys)^power, by blocks of columns, in buffers that are used again.

    Not ``torch.utils.checkpoint``: its blocks leave memory behind that grows with the number of
    blocks.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, keys: Tensor, power: float, columns: int) -> Tensor:
        """(b, c, N), (b, d, N) -> (b, c, N)."""
        ctx.save_for_backward(values, keys)
        ctx.power, ctx.columns = power, columns
        spread = torch.empty_like(values)
        buffer = _buffer(keys, columns)
        for block in _blocks(keys.shape[2], columns):
            similarity = _product(keys.transpose(1, 2), keys[:, :, block], buffer).relu_()
            if power != 1.0:
                similarity.pow_(power)
            spread[:, :, block] = torch.bmm(values, similarity)
        return spread

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        """Gradient of the keys; each block of the similarity is computed again."""
        values, keys = ctx.saved_tensors
        total = torch.zeros_like(keys, dtype=torch.promote_types(keys.dtype, torch.float32))
        first, second = _buffer(keys, ctx.columns), _buffer(keys, ctx.columns)
        for block in _blocks(keys.shape[2], ctx.columns):
            similarity = _product(keys.transpose(1, 2), keys[:, :, block], first)
            outside = similarity <= 0
            back = _product(values.transpose(1, 2), gradient[:, :, block].contiguous(), second)
            if ctx.power != 1.0:
                back.mul_(similarity.clamp_(min=EPSILON).pow_(ctx.power - 1).mul_(ctx.power))
            back.masked_fill_(outside, 0.0)
            # A position is read once as a column and once as a row.
            total[:, :, block] += torch.bmm(keys, back)
            total += torch.bmm(keys[:, :, block], back.transpose(1, 2))
        return None, total.to(keys.dtype), None, None


def _blocks(positions: int, columns: int) -> list[slice]:
    return [slice(start, min(start + columns, positions)) for start in range(0, positions, columns)]


def _buffer(keys: Tensor, columns: int) -> Tensor:
    return keys.new_empty(keys.shape[0] * keys.shape[2] * columns)


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

    def __init__(self, low_channels: int, mid_channels: int, *,
                 channels: tuple[int, int] = (64, 128), power: float = 1.0,
                 block_mib: int = 64) -> None:
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

    def forward(self, maps: Tensor, low: Tensor, mid: Tensor, image: Tensor, *,
                valid: Tensor | None = None) -> Tensor:
        """Refine maps.

        Args:
            maps: output of `pcm_input` on the grid of the result, (b, c, h, w).
            low: finer feature map, (b, c_low, h1, w1); detached here.
            mid: coarser feature map, (b, c_mid, h2, w2); detached here.
            image: the normalised input image, (b, 3, H, W).
            valid: bool (b, H, W), False on the image's padding; None: all valid.

        Returns:
            Refined maps, (b, c, h, w).
        """
        size = maps.shape[2:]
        features = torch.cat([
            resize(image, size, valid),
            resize(F.relu(self.embed_low(low.detach())), size, valid),
            resize(F.relu(self.embed_mid(mid.detach())), size, valid),
        ], dim=1)  # fmt: skip
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
