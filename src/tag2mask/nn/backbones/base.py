"""What a backbone gives, and what it must tell about itself.

Apart from the networks so that each of them can import it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Features(NamedTuple):
    """Three maps of one forward pass, all rectified (>= 0).

    Attributes:
        low: the finer mid-level map, (b, channels[0], h, w) at ``mid_strides[0]``.
        mid: the coarser mid-level map, (b, channels[1], h, w) at ``mid_strides[1]``.
        last: the map under the CAM head, (b, channels[2], h, w) at ``stride``.
    """

    low: Tensor
    mid: Tensor
    last: Tensor


class Backbone(Protocol):
    """A network (``nn.Module``) under the CAM head and PCM.

    Attributes:
        channels: of ``low``, ``mid`` and ``last``.
        stride: image pixels per cell of ``last``.
        mid_strides: image pixels per cell of ``low`` and ``mid``, finest first.
        size_multiple: view sizes that are multiples of it meet every halving with an even side, so
            that all views (scaled, flipped) are sampled alike. At other sizes the padding falls
            differently and maps of a view and of its mirror image agree less.
        mean: of the input normalization, RGB in 0..1.
        std: of the input normalization, RGB in 0..1.
    """

    channels: tuple[int, int, int]
    stride: int
    mid_strides: tuple[int, int]
    size_multiple: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Tensor) -> Features:
        """Return the three maps of a normalized image (b, 3, H, W)."""
        ...

    def frozen(self) -> Iterable[nn.Parameter]:
        """Parameters that never train, beside those of batch norms."""
        ...
