"""Reading of photos, as `tag2mask.data.images` reads them: upright 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "AVIF", "HEIF")
"""Formats that are tried."""
MAX_PIXELS = 1_000_000_000
"""The most pixels a photo may have."""
PIXELS_PER_BYTE = {"JPEG": 512, "MPO": 512, "PNG": 8 * 1032, "GIF": 4096, "PPM": 8}
"""The most pixels that a byte of a file can hold, in formats that have such a limit."""
STRIP = 1 << 20
"""Pixels that are converted or labeled at once."""
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""`Image.Transpose` by EXIF orientation."""
Size = tuple[int, int]
Array = Any


def stored_layout(image: Image.Image) -> tuple[Size, int]:
    """Return the stored size (h, w) and the EXIF orientation 1..8 of an opened photo."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        if tags.get(284) == 2 and tags.get(259, 1) < 2 and max(tags.get(258, (1,))) > 8:
            raise ValueError("16-bit colors in separate planes, which Pillow misreads")
        return (int(tags[257]), int(tags[256])), int(tags.get(274, 1))
    try:
        return (image.height, image.width), int(Image.Image.getexif(image).get(274, 1))
    except Exception:
        return (image.height, image.width), 1


def read_photo(path: Path, needed: Callable[[Size], int]) -> tuple[Image.Image, Size]:
    """Return a photo and its upright size (h, w).

    A JPEG may be decoded smaller, with a long side of at least ``needed(size)`` px.
    """
    Image.init()
    with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        (height, width), turn = stored_layout(image)
        if height * width > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels are more than a thousand megapixels")
        length, most = path.stat().st_size, PIXELS_PER_BYTE.get(image.format or "")
        if most is not None and height * width > most * length:
            raise ValueError(f"{length} bytes can't hold {width} x {height} pixels")
        size = (width, height) if turn in (5, 6, 7, 8) else (height, width)
        side = needed(size)
        if image.format in ("JPEG", "MPO"):
            image.draft(None, (side, 1) if image.width >= image.height else (1, side))
        image.load()
        rgb = to_rgb(image)
        if image.format == "TIFF" or turn not in TURNS:  # Pillow itself turns a TIFF
            return rgb, size
        return rgb.transpose(Image.Transpose(TURNS[turn])), size


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a photo of any mode: transparent pixels on white, gray of 16 or 32 bits scaled."""
    clear = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    deep = image.mode == "F" or image.mode.startswith("I")
    if not deep and not clear:
        return image if image.mode == "RGB" else image.convert("RGB")
    low, high = gray_range(image) if deep else (0.0, 0.0)
    rgb, rows = Image.new("RGB", image.size), max(1, STRIP // max(1, image.width))
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        if deep:
            scaled = np.clip((gray_values(part) - low) * (255.0 / max(high - low, 1e-12)), 0, 255)
            part = Image.fromarray(np.rint(scaled).astype(np.uint8))
        else:
            part = (part.convert("LA") if part.mode == "La" else part).convert("RGBA")
            white = Image.new("RGBA", part.size, (255, 255, 255, 255))
            part = Image.alpha_composite(white, part)
        rgb.paste(part.convert("RGB"), (0, top))
    return rgb


def gray_values(image: Image.Image) -> Array:
    """Return gray as float64 (h, w), 0 where it is not finite."""
    return np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def gray_range(image: Image.Image) -> tuple[float, float]:
    """Return the values of black and white in gray of more than 8 bits."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    values = gray_values(image)
    low, high = float(values.min()), float(values.max())
    if low >= 0.0:
        for white in (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0):
            if high <= white:
                return 0.0, white
    return low, high
