"""Random crops of training photos: how they are drawn, and where they are cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Augmentation:
    """How a photo becomes a training crop.

    Attributes:
        crop: side of the crop, px.
        long_side: range of the long side before cropping, px; None: the photo's own.
        color_jitter: brightness, contrast, saturation, hue.
        mean: of the normalization, per channel, for values in [0, 1].
        std: likewise.
        scale: range of a factor that the long side is multiplied by; None: none.
    """

    crop: int
    long_side: tuple[int, int] | None
    color_jitter: tuple[float, float, float, float]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class CropWindow:
    """Where one training crop lies, for the photo and for any map of its size.

    Attributes:
        size: (width, height) that the whole photo is resized to.
        flip: whether it is then mirrored.
        box: (left, top, right, bottom) that is then cut out.
        rows: of the crop that the box fills; the rest is padding.
        columns: likewise.
        side: of the crop.
    """

    size: tuple[int, int]
    flip: bool
    box: tuple[int, int, int, int]
    rows: slice
    columns: slice
    side: int

    @classmethod
    def draw(cls, size: tuple[int, int], side: int, rng: np.random.Generator) -> CropWindow:
        """Mirror half of the photos and place them at random, inside the padding if smaller."""
        flip = rng.random() < 0.5
        width, height = size
        top_from, top_to, high = _place(height, side, rng)
        left_from, left_to, wide = _place(width, side, rng)
        return cls(
            size,
            flip,
            (left_from, top_from, left_from + wide, top_from + high),
            slice(top_to, top_to + high),
            slice(left_to, left_to + wide),
            side,
        )

    def cut(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """The part of an image that falls into the crop, (h, w) of ``rows`` and ``columns``."""
        image = image.resize(self.size, resample)
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image.crop(self.box)


def _place(length: int, side: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """(first photo pixel, first crop pixel, pixels copied) along one side."""
    if length >= side:
        return int(rng.integers(length - side + 1)), 0, side
    return 0, int(rng.integers(side - length + 1)), length
