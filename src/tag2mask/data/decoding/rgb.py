"""Conversion of images of any mode to 8-bit RGB, in strips: it takes 4 bytes per pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from tag2mask.data.decoding.strips import strips

_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB; its orientation is not changed.

    Transparent pixels are blended with white. Gray of more than 8 bits is scaled: 16 bits by the
    full range of their type; 32 bits by 0..1, 0..255 or 0..65535, whichever holds the values, else
    from their minimum to their maximum.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # no copy, which would double the memory of a large photo
    if image.mode == "F" or image.mode.startswith("I"):
        low, high = _gray_range(image)
        return _converted(image, lambda part: _eight_bits(part, low, high))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _converted(image, _on_white)
    return image.convert("RGB")


def _converted(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return the image whose strips ``convert`` returned as RGB."""
    rgb = Image.new("RGB", image.size)
    for rows, part in strips(image):
        rgb.paste(convert(part), (0, rows.start))
    return rgb


def _on_white(part: Image.Image) -> Image.Image:
    if part.mode == "La":
        part = part.convert("LA")
    rgba = part.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _gray_range(image: Image.Image) -> tuple[float, float]:
    """Return the values of black and white in gray of more than 8 bits."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    ranges = [(float(v.min()), float(v.max())) for v in (_values(p) for _, p in strips(image))]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if low >= 0.0 and image.mode == "F" and high <= 1.0:
        return 0.0, 1.0
    if low >= 0.0 and high <= 255.0:
        return 0.0, 255.0
    if low >= 0.0 and high <= 65535.0:
        return 0.0, 65535.0
    return low, high


def _eight_bits(part: Image.Image, low: float, high: float) -> Image.Image:
    scaled = (_values(part) - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)).convert("RGB")


def _values(part: Image.Image) -> np.ndarray:
    """Return gray as float64 (h, w), 0 where it is not finite."""
    return np.nan_to_num(np.asarray(part).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
