"""Padding of batches to a few sizes, because cuDNN plans a convolution once per input shape.

A plan takes milliseconds and a network has a hundred convolutions. Photos come in many sizes; if
batches also came in every length, most of the time would be spent on planning.
"""

from __future__ import annotations

import torch
from torch import Tensor


class BatchPadding:
    """Pads batches with empty images to a length that is a power of two.

    Args:
        device: device of the network; batches are only padded on CUDA.
        max_images: largest length to pad to; None: no limit. Longer batches stay as they are.

    Example:
        >>> BatchPadding(torch.device("cuda"))(torch.ones(3, 3, 8, 8)).shape
        torch.Size([4, 3, 8, 8])
    """

    def __init__(self, device: torch.device, max_images: int | None = None) -> None:
        self._needed = device.type == "cuda"
        self._max_images = max_images

    def __call__(self, images: Tensor) -> Tensor:
        """Return the images (b, c, h, w) followed by zeros, (b', c, h, w) with b' >= b."""
        count = len(images)
        full = 1 << (count - 1).bit_length()
        if self._max_images is not None:
            full = max(count, min(full, self._max_images))
        if not self._needed or full == count:
            return images
        return torch.cat([images, images.new_zeros(full - count, *images.shape[1:])])
