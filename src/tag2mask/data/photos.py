"""Read a sample's photo and mask, and check them against the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.data.images import image_size, read_image
from tag2mask.data.index import Sample
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError


def read_sample_mask(sample: Sample, path: Path, num_classes: int) -> NDArray[np.uint8]:
    """Read the mask of a photo, uint8 (h, w) of mask ids.

    Args:
        sample: the photo.
        path: its mask.
        num_classes: foreground classes C.

    Raises:
        DataError: missing, damaged, color-coded, of another size than the photo, or with values
            that are not classes.
    """
    mask = read_mask(path, num_classes)
    if mask.shape != sample.size:
        (h, w), (photo_h, photo_w) = mask.shape, sample.size
        raise DataError(
            f"mask is {w} x {h} px, but its photo {sample.id!r} is {photo_w} x {photo_h}",
            where=path,
            fix="Give the mask of this photo at its upright size, not resized.",
        )
    return mask


def read_photo(sample: Sample, *, at_least: int | None = None) -> Image.Image:
    """Read a photo, which must still have the size it was listed with.

    Args:
        sample: the photo.
        at_least: the long side that is needed, px; a JPEG may be decoded at less than its size
            (see `read_image`).

    Raises:
        DataError: missing, damaged or of another size.
    """
    photo = read_image(sample.image, at_least=at_least)
    size = (photo.height, photo.width)
    if size != sample.size and at_least is not None:
        size = image_size(sample.image)
    if size != sample.size:
        raise size_changed(sample.image)
    return photo


def size_changed(path: Path) -> DataError:
    """Return the error of a photo whose size changed after it was listed."""
    return DataError(
        "photo has a different size than when it was listed",
        where=path,
        fix="Run `tag2mask run --update`, or `tag2mask prepare --update`.",
    )
