"""Masks as palette images: the values are mask ids, the palette has the colors for viewers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.classes import IGNORE

IGNORE_COLOR = (224, 224, 192)
"""Color of ignored pixels, as in VOC."""


def palette_image(mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Return a mask as an image of mode P.

    Args:
        mask: uint8 (h, w) of mask ids.
        colors: RGB 0..255 by mask id (C+1), as in `ClassSet.colors`; 255 gets `IGNORE_COLOR`.
    """
    assert mask.dtype == np.uint8 and mask.ndim == 2, (mask.dtype, mask.shape)
    assert 2 <= len(colors) <= IGNORE, len(colors)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE] = IGNORE_COLOR
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(palette.tobytes())
    return image
