"""The values that are stored in an image of one channel.

Pillow stretches gray values of 2 and 4 bits, and those of a PGM with a maximum of its own, to the
whole range of its modes. Class numbers would become others.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from tag2mask.formats.pixels.opening import load_pixels

_FEW_BITS = {"L;2": 3, "L;4": 15}
"""The largest value by the layout of the pixels."""


def load_values(image: ImageFile) -> Image.Image:
    """Decode an opened image of one channel, of any size.

    Returns:
        The image itself, or one with the values as they are stored.
    """
    stored, shown = _largest(image)
    load_pixels(image)
    if stored == shown:
        return image
    if image.mode == "L":
        return image.point([(value * stored + shown // 2) // shown for value in range(256)])
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(((values * stored + shown // 2) // shown).astype(np.int32))


def _largest(image: ImageFile) -> tuple[int, int]:
    """Return the largest value that can be stored, and the one that Pillow shows instead."""
    shown = 255 if image.mode == "L" else 65535
    if image.mode not in ("L", "I") or not image.tile:
        return shown, shown
    codec, _, _, details = image.tile[0]
    layout, *more = (details,) if isinstance(details, str) else details or ("",)
    if codec in ("ppm", "ppm_plain") and more:
        return int(more[0]), shown
    return _FEW_BITS.get(str(layout)[:3], shown), shown
