"""Mask files: one mask id per pixel, as numbered by `ClassSet`.

Masks are written as palette PNGs: the values are the ids, the palette has the colors for viewers.
Masks that are read must have ids too, in a palette or gray image. A color-coded mask (RGB) is an
error: the file doesn't say which color is which class. So is a JPEG, which changes numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.artifacts.files import atomic_write
from tag2mask.classes import IGNORE
from tag2mask.data.decoding.budget import DECODING
from tag2mask.data.decoding.opening import load_pixels, opened_image
from tag2mask.data.decoding.strips import STRIP_PIXELS, strips
from tag2mask.errors import DataError

IGNORE_COLOR = (224, 224, 192)
"""Color of ignored pixels, as in VOC."""

_INDEXED_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_LOSSY_FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WebP", "AVIF": "AVIF", "HEIF": "HEIF"}
"""Formats with no gray or palette images, or whose compression changes numbers."""
_HOW_TO_WRITE = (
    "Write each pixel's class number into a one-channel PNG: 0 background, 1, 2, ... the classes "
    "in the order of the class list, 255 ignore."
)


def read_mask(path: Path, num_classes: int) -> NDArray[np.uint8]:
    """Read an indexed mask.

    The EXIF orientation of a mask is not applied: masks belong to the upright photo.

    Args:
        path: a palette or gray image, 1 to 16 bits, whose values are mask ids.
        num_classes: C, the number of foreground classes.

    Returns:
        uint8 (h, w): 0 background, 1..C classes, 255 ignore.

    Raises:
        DataError: missing or damaged, color-coded, of a lossy format, or values outside 0..C and
            255.
    """
    with opened_image(path, "mask") as image:
        _check_kind(image, path)
        mask = np.empty((image.height, image.width), np.uint8)
        present: set[int] = set()
        with DECODING.share(mask.size):
            load_pixels(image)
            for rows, part in strips(image):
                values = np.asarray(part)
                present.update(np.unique(values).tolist())
                mask[rows] = values
    foreign = sorted(v for v in map(int, present) if not (0 <= v <= num_classes or v == IGNORE))
    if foreign:
        shown = ", ".join(map(str, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
        raise DataError(
            f"mask has the values {shown}; "
            f"{num_classes} classes allow 0..{num_classes} and {IGNORE}",
            where=path,
            fix="Check the class list and the mask's numbering.",
        )
    return mask


def _check_kind(image: Image.Image, path: Path) -> None:
    """Check that an image's format and mode can hold class numbers.

    Raises:
        DataError: they can't.
    """
    if image.format in _LOSSY_FORMATS:
        raise DataError(
            f"mask is a {_LOSSY_FORMATS[image.format]} image, whose compression changes class "
            "numbers",
            where=path,
            fix=f"Masks must be PNG. {_HOW_TO_WRITE}",
        )
    if image.mode not in _INDEXED_MODES:
        kind = "of floating point numbers" if image.mode == "F" else "color-coded"
        raise DataError(
            f"mask is {kind} (mode {image.mode}), not indexed", where=path, fix=_HOW_TO_WRITE
        )


def values_in(mask: NDArray[np.uint8]) -> frozenset[int]:
    """Return the values in a mask (h, w), without a copy of all its pixels."""
    blocks = np.array_split(mask, 1 + mask.size // STRIP_PIXELS)
    return frozenset(value for block in blocks for value in np.unique(block).tolist())


def mask_colors(path: Path) -> dict[int, tuple[int, int, int]]:
    """Return the palette of a mask: RGB 0..255 by value; empty for a mask without palette.

    Args:
        path: a mask that `read_mask` read.
    """
    with opened_image(path, "mask") as image:
        flat = image.getpalette("RGB") if image.mode == "P" else None
    colors = [] if flat is None else [*zip(flat[::3], flat[1::3], flat[2::3], strict=True)]
    return dict(enumerate(colors))


def write_mask(path: Path, mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> None:
    """Write a mask as a palette PNG, atomically.

    Args:
        path: the file (``.png``); missing folders are created.
        mask: uint8 (h, w) of mask ids.
        colors: RGB 0..255 by mask id (C+1), as in `ClassSet.colors`; 255 gets `IGNORE_COLOR`.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    image = palette_image(mask, colors)
    # Not durable: waiting for the disk after each of thousands of files would take longer than
    # writing them.
    with atomic_write(path, durable=False) as temporary:
        # Masks are runs of equal bytes: searching for runs only compresses about as well in a third
        # of the time.
        image.save(temporary, format="PNG", compress_type=zlib.Z_RLE)


def palette_image(mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Return a mask as an image of mode P; the arguments are those of `write_mask`."""
    assert mask.dtype == np.uint8 and mask.ndim == 2, (mask.dtype, mask.shape)
    assert 2 <= len(colors) <= IGNORE, len(colors)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE] = IGNORE_COLOR
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(palette.tobytes())
    return image


def write_confidence(path: Path, confidence: NDArray[np.float32] | NDArray[np.uint8]) -> None:
    """Write the confidence of each pixel of a mask as 8 bits of gray, atomically.

    Args:
        path: the file (``.png``); missing folders are created.
        confidence: (h, w), float32 in [0, 1], or uint8 as it is stored: 255 is 1.0.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    if confidence.dtype == np.uint8:
        gray = np.ascontiguousarray(confidence)
    else:
        gray = np.rint(confidence * 255).astype(np.uint8)
    with atomic_write(path, durable=False) as temporary:
        Image.fromarray(gray).save(temporary, format="PNG")
