"""Masks as images of one channel whose values are class numbers.

Other tools read such PNGs as 8 bits of gray; a palette would be read as colors by some of them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.formats.annotations import MaskedPhoto, Region
from tag2mask.formats.photo_names import stem_path
from tag2mask.formats.pixels.opening import opened_image
from tag2mask.formats.pixels.stored_values import load_values
from tag2mask.formats.text_files.readable import file_state

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
"""Suffixes of images that keep numbers."""
_FORMATS = ("PNG", "BMP", "TIFF")
_MODES = ("1", "L", "P")


def write_gray(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write a mask (h, w) as a PNG of 8 bits of gray, atomically; missing folders are created.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    save_png(path, Image.fromarray(np.ascontiguousarray(mask)))


def write_split_masks(photos: Iterable[MaskedPhoto], folder: Path) -> Counter[str]:
    """Write ``<split>/<photo>.png`` for each photo; one mask at a time is in memory.

    Returns:
        The number of photos in each split.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    splits: Counter[str] = Counter()
    for photo in photos:
        splits[photo.split] += 1
        write_gray(folder / photo.split / f"{stem_path(photo.file_name)}.png", photo.mask())
    return splits


def save_png(path: Path, image: Image.Image) -> None:
    """Write a mask's image as a PNG, atomically; missing folders are created.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    with atomic_write(path, durable=False) as temporary:
        image.save(temporary, format="PNG", compress_type=zlib.Z_RLE)


def read_values(path: Path) -> NDArray[np.uint8]:
    """Read the values of a mask.

    Returns:
        uint8 (h, w): palette indices or gray values, as stored; 1-bit images have 0 and 1.

    Raises:
        DataError: missing, damaged, or not an image of one channel of at most 8 bits.
    """
    with opened_mask(path) as image:
        if image.mode not in _MODES:
            raise DataError(
                f"mask is not an image of one channel of 8 bits (mode {image.mode})",
                where=path,
                fix="Write each pixel's class number into a gray PNG.",
            )
        return np.asarray(load_values(image)).astype(np.uint8)


def opened_mask(path: Path) -> AbstractContextManager[ImageFile]:
    """Open the image of a mask's file, without decoding its pixels.

    Raises:
        DataError: missing or damaged; also where that shows only inside of the block.
        DeviceError: too little memory to decode it.
    """
    return opened_image(path, "mask", _FORMATS)


def value_regions(
    path: Path, labels: Mapping[int, str | None]
) -> tuple[tuple[int, int], tuple[Region, ...]]:
    """Return a mask's (width, height), and a region for each of its values that has a label.

    The file is read again where a region's pixels are asked for.

    Args:
        path: the mask.
        labels: by value; None: the value is background.

    Raises:
        DataError: it can't be read (see `read_values`), or has a value without a label.
    """
    values = read_values(path)
    found = [int(value) for value in np.flatnonzero(np.bincount(values.ravel(), minlength=256))]
    unknown = [str(value) for value in found if value not in labels]
    if unknown:
        raise DataError(
            f"mask has the values {', '.join(unknown[:5])}, which are no classes",
            where=path,
            fix="Correct the list of classes or the mask.",
        )
    regions = tuple(
        Region(label, None, "mask", partial(_pixels_of, path, value))
        for value in found
        if (label := labels[value]) is not None
    )
    return (values.shape[1], values.shape[0]), regions


def _pixels_of(path: Path, value: int) -> NDArray[np.bool_]:
    pixels: NDArray[np.bool_] = _recent_values(path, file_state(path)) == value
    return pixels


@lru_cache(maxsize=1)
def _recent_values(path: Path, state: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Read a mask once for all its regions, which are usually asked for one after another.

    ``state`` is that of the file, so that a replaced one is read again.
    """
    return read_values(path)
