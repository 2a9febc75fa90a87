"""Few shapes of batches for a GPU: cuDNN plans each convolution anew for every shape.

A plan takes milliseconds and a network has a hundred convolutions. Photos come in many sizes, so
with batches of every length most of the time would go into planning.
"""

from __future__ import annotations

import torch
from torch import Tensor


class BatchPadding:
    """Fills batches up to a power of two.

    Args:
        device: where the network is; elsewhere than on CUDA nothing is filled up.
        most: images that a batch may have; None: as many as it is filled up to.
    """

    def __init__(self, device: torch.device, most: int | None = None) -> None:
        self._needed = device.type == "cuda"
        self._most = most

    def __call__(self, images: Tensor) -> Tensor:
        """The images (b, c, h, w), and zeros after them."""
        count = len(images)
        full = 1 << (count - 1).bit_length()
        if self._most is not None:
            full = max(count, min(full, self._most))
        if not self._needed or full == count:
            return images
        return torch.cat([images, images.new_zeros(full - count, *images.shape[1:])])
