"""PCM, the pixel correlation module: refines CAMs with the photo's own low-level appearance.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3.3; the authors' code is
``network/resnet38_SEAM.py`` (``Net.forward`` and ``Net.PCM``) of https://github.com/YudeWang/SEAM.

`pcm_input` turns raw CAMs into the map that is spread, `correlate` spreads it along the similarity
of features, and `PixelCorrelation` is the module: three 1x1 convolutions in front of `correlate`.
In contrast to standard self-attention there is no residual connection and no separate query, key
and value embedding, and softmax is replaced by ReLU and an L1 norm. All inputs are detached, so
only the three 1x1 convolutions receive gradients.

The affinity of N positions is an N x N matrix. Here it is exact at any size: square tiles of it are
computed one after the other, within a given amount of memory, also in training (the backward pass
computes each tile again). The matrix is symmetric before it is normalized, so a tile off the
diagonal serves two blocks of columns, and nearly half of all tiles are never computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tag2mask.nn.masked_resize import cells_inside, resize

EPSILON = 1e-5
_COPIES = 2.25
"""Tiles in memory at once in the backward pass: similarity, its gradient, and a byte mask."""
_CPU_TILE = 512
"""Side of a tile that stays in a CPU's cache between its products."""
_LEAST_TILE = 64
"""Smaller tiles save no memory, and the calls take longer than the products."""


@dataclass(frozen=True)
class PcmSettings:
    """Settings of PCM.

    Attributes:
        channels: embedding channels of the finer and of the coarser mid-level map.
        finest: the affinity is computed on the grid of the finer mid-level map, not on the CAM's.
        power: exponent of the similarity, see `correlate`.
        block_mib: memory for the affinity at once, MiB, see `correlate`.
    """

    channels: tuple[int, int]
    finest: bool
    power: float
    block_mib: int


PUBLISHED_PCM = PcmSettings(channels=(64, 128), finest=False, power=1.0, block_mib=64)
"""The authors' PCM, on the grid of the CAM (``block_mib`` does not change the result)."""


def pcm_input(cam: Tensor, *, tags: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
    """Turn raw CAMs into the map that PCM spreads (no gradient).

    Steps: ReLU; divide each channel by its maximum; background = 1 - largest foreground; of the
    foreground keep only the largest channel at each position. The ``cam_d_norm`` of the authors'
    ``Net.forward``.

    Args:
        cam: raw maps, (b, C+1, h, w); channel 0, the background, is not read.
        tags: 0/1 or bool (b, C); given, absent classes are 0. None: all classes compete
            (published).
        valid: bool (b, h, w), False on padding; None: all valid (published).

    Returns:
        float32 (b, C+1, h, w) in [0, 1], 0 on padding.

    Example:
        >>> import torch
        >>> from tag2mask.seam.pcm import pcm_input
        >>> cam = torch.tensor([[0.0, 0.0, 0.0], [4.0, 1.0, 0.0], [-1.0, 2.0, 1.0]])
        >>> pcm_input(cam.view(1, 3, 1, 3)).view(3, 3).round(decimals=2)  # background, 2 classes
        tensor([[0.0000, 0.0000, 0.5000],
                [1.0000, 0.0000, 0.0000],
                [0.0000, 1.0000, 0.5000]])
    """
    with torch.no_grad():
        foreground = F.relu(cam[:, 1:].detach().float())
        if tags is not None:
            foreground = foreground * tags[:, :, None, None].to(foreground.dtype)
        if valid is not None:
            foreground = foreground * valid[:, None]
        peak = foreground.amax(dim=(2, 3), keepdim=True) + EPSILON  # (b, C, 1, 1)
        foreground = F.relu(foreground - EPSILON) / peak  # (b, C, h, w)
        largest = foreground.amax(dim=1, keepdim=True)  # (b, 1, h, w)
        foreground = torch.where(foreground < largest, 0.0, foreground)
        background = 1 - largest
        if valid is not None:
            background = background * valid[:, None]
        return torch.cat([background, foreground], dim=1)


def correlate(maps: Tensor, features: Tensor, *, power: float, block_mib: int) -> Tensor:
    """Spread maps along the cosine similarity of features.

    Section 3.3 of https://arxiv.org/abs/2004.04581.

    Formula, over all pairs of positions i, j::

        s_ij = ReLU(cos(f_i, f_j))^power,   refined_j = Σ_i maps_i · s_ij / (Σ_i s_ij + 1e-5)

    The authors' ``Net.PCM`` with power 1. Positions whose features are all 0 (padding) neither give
    nor receive anything.

    Args:
        maps: (b, c, h, w), detached here.
        features: (b, d, h, w), differentiable.
        power: exponent of the similarity, > 0. Published: 1. Larger values keep a map from
            spreading to positions that are only roughly similar, as β does in the random walk.
        block_mib: memory for tiles of the affinity, MiB. It does not change the result.

    Returns:
        Refined maps, (b, c, h, w), of the features' dtype; float32 in autocast to float16.

    Example:
        Positions 0 and 1 have the same features, position 2 others; the score of position 0 is
        shared by 0 and 1.

        >>> import torch
        >>> from tag2mask.seam.pcm import correlate
        >>> features = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).view(1, 2, 1, 3)
        >>> maps = torch.tensor([1.0, 0.0, 0.25]).view(1, 1, 1, 3)
        >>> correlate(maps, features, power=1.0, block_mib=64).flatten().round(decimals=3)
        tensor([0.5000, 0.5000, 0.2500])
    """
    batch, channels, height, width = maps.shape
    positions = height * width
    keys = features.flatten(2)  # (b, d, N)
    keys = keys / (torch.linalg.vector_norm(keys, dim=1, keepdim=True) + EPSILON)
    if torch.is_autocast_enabled(keys.device.type):
        keys = keys.to(torch.get_autocast_dtype(keys.device.type))
    # With a row of ones the same product also gives the column sums: the affinity is read once.
    values = torch.cat([maps.detach().flatten(2), maps.new_ones(batch, 1, positions)], dim=1)
    spread: Tensor = _Spread.apply(values.to(keys.dtype), keys, power, _tile_side(keys, block_mib))
    # (b, c + 1, N)
    refined = spread[:, :-1] / (spread[:, -1:] + EPSILON)
    return refined.view(batch, channels, height, width)


class _Spread(torch.autograd.Function):
    """values · relu(keysᵀ keys)^power, tile by tile, in buffers that are reused.

    ``torch.utils.checkpoint`` is not an alternative: what it keeps grows with the number of blocks.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, keys: Tensor, power: float, side: int) -> Tensor:
        """Return the product: (b, c, N), (b, d, N) -> (b, c, N)."""
        ctx.save_for_backward(values, keys)
        ctx.power, ctx.side = power, side
        spread = _zeros(values)
        keys_of, values_of = _blocks(keys, side), _blocks(values, side)
        spread_of = torch.split(spread, side, dim=2)
        buffer = _buffer(keys, side)
        for row, column in _tiles(len(keys_of)):
            similarity = _product(keys_of[row].mT, keys_of[column], buffer).relu_()  # (b, s, s)
            if power != 1.0:
                similarity.pow_(power)
            spread_of[column].add_(torch.bmm(values_of[row], similarity))
            if row != column:
                spread_of[row].add_(torch.bmm(values_of[column], similarity.mT))
        # Sums over more than 65,504 positions overflow in float16.
        return spread if values.dtype is torch.float16 else spread.to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        """Return the gradient of the keys; each tile of the similarity is computed again."""
        values, keys = ctx.saved_tensors
        gradient = gradient.to(values.dtype)
        total = _zeros(keys)
        keys_of, total_of = _blocks(keys, ctx.side), torch.split(total, ctx.side, dim=2)
        # Each pair of positions occurs twice, once as (i, j) and once as (j, i): one product of
        # stacked matrices gives the sum of both gradients.
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


def _tile_side(keys: Tensor, block_mib: int) -> int:
    """Return the side of a tile, in positions."""
    pair_bytes = _COPIES * keys.shape[0] * keys.element_size()
    side = max(_LEAST_TILE, math.isqrt(int(block_mib * 2**20 / pair_bytes)))
    if keys.device.type == "cpu":
        side = min(side, _CPU_TILE)
    return min(side, keys.shape[2])


def _tiles(blocks: int) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of the tiles on and above the diagonal."""
    return combinations_with_replacement(range(blocks), 2)


def _blocks(tensor: Tensor, side: int) -> list[Tensor]:
    """Split (b, c, N) into contiguous blocks (b, c, up to side)."""
    return [block.contiguous() for block in torch.split(tensor, side, dim=2)]


def _zeros(like: Tensor) -> Tensor:
    """Return an accumulator of at least single precision."""
    return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))


def _buffer(keys: Tensor, side: int) -> Tensor:
    return keys.new_empty(keys.shape[0] * side * side)


def _product(left: Tensor, right: Tensor, buffer: Tensor) -> Tensor:
    """Write a batched matrix product to the start of a buffer, and return it."""
    shape = (left.shape[0], left.shape[1], right.shape[2])
    return torch.bmm(left, right, out=buffer[: math.prod(shape)].view(shape))


class PixelCorrelation(nn.Module):
    """PCM on two mid-level feature maps and the image (section 3.3).

    Formula, with [] a concatenation on the grid of the maps and θ 1x1 convolutions without bias::

        f = θ_fuse [image, ReLU(θ_low(conv4)), ReLU(θ_mid(conv5))]
        refined = correlate(maps, f)

    All inputs are detached. The convolutions are ``f8_3``, ``f8_4`` and ``f9`` in the authors'
    ``network/resnet38_SEAM.py``, initialized as there. The caller chooses the grid of the maps.

    Args:
        low_channels: channels of the finer feature map (conv4 of ResNet-38: 512).
        mid_channels: channels of the coarser one (conv5: 1024).
        settings: see `PcmSettings`; published: `PUBLISHED_PCM`.

    Example:
        >>> import torch
        >>> from tag2mask.seam.pcm import PUBLISHED_PCM, PixelCorrelation, pcm_input
        >>> _ = torch.manual_seed(0)
        >>> pcm = PixelCorrelation(8, 16, PUBLISHED_PCM)
        >>> image = torch.rand(1, 3, 32, 32)
        >>> low, mid, cam = (torch.rand(1, channels, 4, 4) for channels in (8, 16, 3))
        >>> refined = pcm(pcm_input(cam), low, mid, image)
        >>> refined.shape, bool((refined >= 0).all() and (refined <= 1).all())
        (torch.Size([1, 3, 4, 4]), True)
    """

    def __init__(self, low_channels: int, mid_channels: int, settings: PcmSettings) -> None:
        super().__init__()
        self.settings = settings
        low, mid = settings.channels
        self.embed_low = nn.Conv2d(low_channels, low, 1, bias=False)
        self.embed_mid = nn.Conv2d(mid_channels, mid, 1, bias=False)
        self.fuse = nn.Conv2d(3 + low + mid, low + mid, 1, bias=False)
        nn.init.kaiming_normal_(self.embed_low.weight)
        nn.init.kaiming_normal_(self.embed_mid.weight)
        nn.init.xavier_uniform_(self.fuse.weight, gain=4)

    def forward(
        self, maps: Tensor, low: Tensor, mid: Tensor, image: Tensor, *, valid: Tensor | None = None
    ) -> Tensor:
        """Refine maps.

        Args:
            maps: output of `pcm_input`, (b, c, h, w); its grid is that of the result.
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
                resize(image, size, valid),  # (b, 3, h, w)
                resize(F.relu(self.embed_low(low.detach())), size, valid),  # (b, 64, h, w)
                resize(F.relu(self.embed_mid(mid.detach())), size, valid),  # (b, 128, h, w)
            ],
            dim=1,
        )
        inside = None if valid is None else cells_inside(valid, size)
        return self.refine(maps, features, valid=inside)

    def refine(self, maps: Tensor, features: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """Fuse concatenated features, and spread the maps along them.

        Args:
            maps: as for `forward`, (b, c, h, w).
            features: image and both embeddings, (b, 3 + low + mid, h, w).
            valid: bool (b, h, w) on the maps' grid; None: all valid.

        Returns:
            Refined maps, (b, c, h, w).
        """
        fused = self.fuse(features)  # (b, low + mid, h, w)
        if valid is not None:
            fused = fused * valid[:, None]
        power, block_mib = self.settings.power, self.settings.block_mib
        return correlate(maps, fused, power=power, block_mib=block_mib)
