"""Photos as the inputs of a network whose affinities a walk follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tag2mask.nn.backbones.base import Backbone

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PhotoInput:
    """Resizes and normalizes photos for a network.

    Attributes:
        device: where the network is.
        mean: mean of the input normalization, (3, 1, 1) on the device.
        std: standard deviation of the input normalization, (3, 1, 1) on the device.
        long_side: the photo's long side at scale 1, px; None: its own.
        multiple: sides are rounded to multiples of it, px.
    """

    device: torch.device
    mean: Tensor
    std: Tensor
    long_side: int | None
    multiple: int

    @classmethod
    def of(
        cls, backbone: Backbone, device: torch.device, *, long_side: int | None, multiple: int
    ) -> Self:
        """Return the input of a backbone on a device."""
        mean, std = (
            torch.tensor(values, device=device)[:, None, None]
            for values in (backbone.mean, backbone.std)
        )
        return cls(device, mean, std, long_side, multiple)

    def view_size(self, size: Size, scale: float) -> Size:
        """Return the (H, W) of a photo of a size at a scale, as the network sees it, px."""
        if self.long_side is not None:
            scale *= self.long_side / max(size)
        height, width = (
            max(1, round(side * scale / self.multiple)) * self.multiple for side in size
        )
        return height, width

    def image(self, photo: Image.Image, size: Size) -> Tensor:
        """Return the photo resized and normalized, (3, *size), on the device."""
        wanted = (size[1], size[0])
        resized = photo if photo.size == wanted else photo.resize(wanted, Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(resized).copy()).to(self.device)
        return (pixels.permute(2, 0, 1).float() / 255 - self.mean) / self.std
