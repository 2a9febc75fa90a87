"""Mask files: one mask id per pixel, as numbered by `ClassSet`.

Masks are written as palette PNGs: the values are the ids, the palette has the colors for viewers.
Masks that are read must have ids too, in a palette or gray image. A color-coded mask (RGB) is an
error: the file doesn't say which color is which class. So is a JPEG, which changes numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from tag2mask.artifacts.items import item_path
from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.data.decoding.budget import DECODING
from tag2mask.data.decoding.frames import has_more_images
from tag2mask.data.decoding.strips import STRIP_PIXELS, strips
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.formats.pixels.opening import opened_image
from tag2mask.formats.pixels.palette_image import palette_image
from tag2mask.formats.pixels.stored_values import load_values

_INDEXED_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_LOSSY_FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WebP", "AVIF": "AVIF", "HEIF": "HEIF"}
"""Formats with no gray or palette images, or whose compression changes numbers."""
_HOW_TO_WRITE = (
    "Write each pixel's class number into a one-channel PNG: 0 background, 1, 2, ... the classes "
    "in the order of the class list, 255 ignore."
)


CRF_MASKS = "crf"
"""Folder of the masks that ``evaluate`` makes by a dense CRF, for comparison."""


def mask_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's mask in the folder of ``pseudo-masks`` or ``predict``.

    Raises:
        RunFolderError: the id leads out of the folder.
    """
    return item_path(folder / "masks", photo_id, ".png")


def confidence_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's confidence in the folder of ``pseudo-masks`` or ``predict``.

    Raises:
        RunFolderError: the id leads out of the folder.
    """
    return item_path(folder / "confidence", photo_id, ".png")


def crf_mask_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's mask after a dense CRF in the folder of ``evaluate``.

    Raises:
        RunFolderError: the id leads out of the folder.
    """
    return item_path(folder / CRF_MASKS, photo_id, ".png")


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
    with _decoded_mask(path, num_classes) as (image, _):
        mask = np.empty((image.height, image.width), np.uint8)
        for rows, part in strips(image):
            mask[rows] = np.asarray(part)
    return mask


class MaskContent(NamedTuple):
    """What a mask holds, without its pixels."""

    size: tuple[int, int]
    """(h, w) px."""
    values: frozenset[int]
    """The values in it."""
    colors: frozenset[tuple[int, tuple[int, int, int]]] = frozenset()
    """Its classes with their RGB in its palette; empty for a mask without palette."""


def read_mask_content(path: Path, num_classes: int) -> MaskContent:
    """Read a mask as `read_mask` does, but return only its size, values and colors.

    Raises:
        DataError: as `read_mask`.
    """
    with _decoded_mask(path, num_classes) as (image, values):
        flat = image.getpalette("RGB") if image.mode == "P" else None
        colors = {
            value: tuple(flat[3 * value : 3 * value + 3])
            for value in values - {BACKGROUND, IGNORE}
            if flat is not None and 3 * value < len(flat)
        }
        return MaskContent(
            (image.height, image.width),
            values,
            frozenset((value, (red, green, blue)) for value, (red, green, blue) in colors.items()),
        )


@contextmanager
def _decoded_mask(path: Path, num_classes: int) -> Iterator[tuple[Image.Image, frozenset[int]]]:
    """Yield the checked image of a mask file, loaded, with the values in it.

    Raises:
        DataError: as `read_mask`.
    """
    with opened_image(path, "mask") as image:
        _check_kind(image, path)
        with DECODING.share(image.width * image.height):
            loaded = load_values(image)
            values = _values_of(loaded)
            _check_values(values, num_classes, path)
            yield loaded, values


def _values_of(image: Image.Image) -> frozenset[int]:
    """Return the values of a loaded image of one channel."""
    if image.mode in ("L", "P"):
        return frozenset(compress(range(256), image.histogram()))
    parts = (np.unique(np.asarray(part)).tolist() for _, part in strips(image))
    return frozenset(int(value) for part in parts for value in part)


def _check_values(values: frozenset[int], num_classes: int, path: Path) -> None:
    """Check that values are mask ids.

    Raises:
        DataError: they are not.
    """
    foreign = sorted(v for v in values if not (0 <= v <= num_classes or v == IGNORE))
    if foreign:
        shown = ", ".join(map(str, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
        raise DataError(
            f"mask has the values {shown}; "
            f"{num_classes} classes allow 0..{num_classes} and {IGNORE}",
            where=path,
            fix="Check the class list and the mask's numbering.",
        )


def _check_kind(image: ImageFile, path: Path) -> None:
    """Check that an image's format and mode can hold class numbers, and that there is only one.

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
    if has_more_images(image):
        raise DataError("mask has several images in one file", where=path, fix=_HOW_TO_WRITE)


def values_in(mask: NDArray[np.uint8]) -> frozenset[int]:
    """Return the values in a mask (h, w), without a copy of all its pixels."""
    blocks = np.array_split(mask, 1 + mask.size // STRIP_PIXELS)
    return frozenset(value for block in blocks for value in np.unique(block).tolist())


def write_mask(path: Path, mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> None:
    """Write a mask as a palette PNG, atomically.

    Args:
        path: the file (``.png``); missing folders are created.
        mask: uint8 (h, w) of mask ids.
        colors: RGB 0..255 by mask id (C+1), see `palette_image`.

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
