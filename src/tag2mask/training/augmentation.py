"""Random crops of training photos: how they are drawn, and where they are cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Augmentation:
    """How a photo becomes a training crop.

    Attributes:
        crop: side of the square crop, px.
        long_side: range that the long side is drawn from before cropping, px; None: the photo's.
        color_jitter: strengths of brightness, contrast, saturation and hue, as in torchvision's
            ``ColorJitter``.
        mean: mean of the input normalization, RGB in 0..1.
        std: standard deviation of the input normalization, RGB in 0..1.
        scale: range of a random factor of the long side; None: no factor.
        jitter_photo: whether colors are jittered before the crop, as in the authors' code: contrast
            is then relative to the mean of the complete photo, else to that of the crop.
        black_padding: whether padding is black, as in AffinityNet's code, instead of the mean of
            the normalization.
    """

    crop: int
    long_side: tuple[int, int] | None
    color_jitter: tuple[float, float, float, float]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: tuple[float, float] | None
    jitter_photo: bool
    black_padding: bool


@dataclass(frozen=True)
class CropWindow:
    """Size, flip and position of one training crop; applies to the photo and to maps of its size.

    Attributes:
        size: (width, height) that the photo is resized to.
        flip: whether it is then flipped horizontally.
        box: (left, top, right, bottom) that is then cropped.
        rows: rows of the crop that the box fills; the rest is padding.
        columns: columns of the crop that the box fills; the rest is padding.
        side: side of the crop, px.
    """

    size: tuple[int, int]
    flip: bool
    box: tuple[int, int, int, int]
    rows: slice
    columns: slice
    side: int

    @classmethod
    def draw(cls, size: tuple[int, int], side: int, rng: np.random.Generator) -> CropWindow:
        """Draw flip and position; a photo smaller than the crop is placed inside the padding."""
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
        """Return the part of an image inside the crop, of the size of ``rows`` and ``columns``."""
        image = image.resize(self.size, resample)
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image.crop(self.box)


def _place(length: int, side: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw (first photo pixel, first crop pixel, number of pixels) along one axis."""
    if length >= side:
        return int(rng.integers(length - side + 1)), 0, side
    return 0, int(rng.integers(side - length + 1)), length
