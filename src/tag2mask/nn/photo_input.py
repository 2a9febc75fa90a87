"""Photos as the inputs of a network: resized and normalized."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Size = tuple[int, int]


class PhotoInput:
    """Resizes and normalizes photos for a network.

    Args:
        mean: channel means of the network's input.
        std: channel standard deviations of the network's input.
        device: where the images go.
        long_side: the photo's long side at scale 1, px; None: its own.
        multiple: sides are rounded to multiples of it, px.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        *,
        long_side: int | None,
        multiple: int,
    ) -> None:
        self.mean = torch.tensor(mean, device=device)[:, None, None]
        self.std = torch.tensor(std, device=device)[:, None, None]
        self.device = device
        self.long_side = long_side
        self.multiple = multiple

    def view_size(self, size: Size, scale: float) -> Size:
        """Return the (H, W) of a photo of a size at a scale, as the network sees it, px."""
        if self.long_side is not None:
            scale *= self.long_side / max(size)
        height, width = (
            max(1, round(side * scale / self.multiple)) * self.multiple for side in size
        )
        return height, width

    def image(self, photo: Image.Image, size: Size) -> Tensor:
        """Return an RGB photo resized and normalized, (3, *size), on the device."""
        return self.normalized(resized(photo, size))

    def normalized(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return pixels (h, w, 3) as a normalized image (3, h, w) on the device."""
        image = torch.from_numpy(pixels).to(self.device)
        return (image.permute(2, 0, 1).float() / 255 - self.mean) / self.std


def resized(photo: Image.Image, size: Size) -> NDArray[np.uint8]:
    """Resize a photo to (h, w), uint8 (h, w, 3); always a copy."""
    wanted = (size[1], size[0])
    sized = photo if photo.size == wanted else photo.resize(wanted, Image.Resampling.BICUBIC)
    return np.array(sized)
