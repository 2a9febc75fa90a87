"""The interface of a backbone: its three feature maps and its attributes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Features(NamedTuple):
    """Three feature maps of one forward pass.

    They are after a ReLU (>= 0), or keep their signs where the network normalizes its maps, as
    transformers do; ``low`` and ``mid`` are then normalized in each cell.

    Attributes:
        low: finer mid-level map, (b, channels[0], h, w) at stride ``mid_strides[0]``.
        mid: coarser mid-level map, (b, channels[1], h, w) at stride ``mid_strides[1]``.
        last: input of the CAM head, (b, channels[2], h, w) at stride ``stride``.
    """

    low: Tensor
    mid: Tensor
    last: Tensor


class Backbone(Protocol):
    """A feature extractor (``nn.Module``) that feeds the CAM head and PCM.

    Attributes:
        channels: number of channels of ``low``, ``mid`` and ``last``.
        stride: output stride: image pixels per cell of ``last``.
        mid_strides: image pixels per cell of ``low`` and ``mid``, finest first.
        size_multiple: image sides should be multiples of it. Every strided layer then reads an even
            side, and scaled and flipped views are sampled at the same places. At other sizes the
            padding shifts the grid, and the maps of a view and of its mirror image agree less.
        mean: mean of the input normalization, RGB in 0..1.
        std: standard deviation of the input normalization, RGB in 0..1.
    """

    channels: tuple[int, int, int]
    stride: int
    mid_strides: tuple[int, int]
    size_multiple: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Tensor) -> Features:
        """Return the feature maps of normalized images (b, 3, H, W)."""
        ...

    def frozen(self) -> Iterable[nn.Parameter]:
        """Return the parameters that are never trained; batch norms are handled separately."""
        ...
