"""A toy backbone with a receptive field of one cell."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.backbones.base import Features


class PointwiseBackbone(nn.Module):
    """Average pooling over cells, then 1x1 convolutions.

    Args:
        stride: stride of the last map and the coarser mid-level map.
        low_stride: stride of the finer mid-level map.
        size_multiple: attribute of the backbone.
    """

    channels = (4, 5, 6)
    mean = (0.5, 0.4, 0.3)
    std = (0.2, 0.3, 0.25)

    def __init__(self, stride: int = 4, low_stride: int | None = None, size_multiple: int = 1):
        super().__init__()
        low_stride = stride if low_stride is None else low_stride
        self.stride = stride
        self.mid_strides = (low_stride, stride)
        self.size_multiple = size_multiple
        self.low = nn.Conv2d(3, 4, 1)
        self.mid = nn.Conv2d(3, 5, 1)
        self.last = nn.Conv2d(3, 6, 1)

    def forward(self, image: Tensor) -> Features:
        fine, coarse = (F.avg_pool2d(image, stride, ceil_mode=True) for stride in self.mid_strides)
        return Features(F.relu(self.low(fine)), F.relu(self.mid(coarse)), F.relu(self.last(coarse)))

    def frozen(self) -> Iterable[nn.Parameter]:
        return self.low.parameters()


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normally distributed numbers drawn with a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def padded(x: Tensor, size: tuple[int, int], fill: float = 0.0) -> Tensor:
    """Return the maps (..., h, w) in the upper left corner of a larger grid."""
    return F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]), value=fill)


def corner(h: int, w: int, size: tuple[int, int], batch: int = 1) -> Tensor:
    """Return the valid mask (b, *size) of a photo of h x w in the upper left corner."""
    valid = torch.zeros(batch, *size, dtype=torch.bool)
    valid[:, :h, :w] = True
    return valid
