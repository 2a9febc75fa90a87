"""Few shapes for a GPU: cuDNN plans every convolution anew for each shape of batch it meets.

A plan takes some 15 ms, a network has a hundred convolutions, photos come in many sizes: planned
for each of their batches, an inference spends most of its time so.
"""

from __future__ import annotations

import torch
from torch import Tensor


class SteadyBatches:
    """Fills batches up to the largest seen so far of images of that size.

    Memory stays within what earlier batches took.

    Args:
        device: where the network is; on a CPU nothing is planned, and nothing is filled up.
    """

    def __init__(self, device: torch.device) -> None:
        self._needed = device.type == "cuda"
        self._largest: dict[tuple[int, ...], int] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """The images (b, c, h, w), and black ones after them where more were seen before."""
        if not self._needed:
            return images
        shape = tuple(images.shape[1:])
        largest = self._largest[shape] = max(len(images), self._largest.get(shape, 0))
        if largest == len(images):
            return images
        return torch.cat([images, images.new_zeros(largest - len(images), *shape)])
