"""What the page shows of a photo, at the size of a screen: memory doesn't grow with the photo."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tag2mask.data.images import image_size, read_image
from tag2mask.data.masks import read_mask
from tag2mask.maps.cam_map import read_map
from tag2mask.report.overlays import fitted

VIEW_SIDE = 1600
"""Long side, px, at which photos are shown and masks are drawn."""
THUMB_SIDE = 160
SUPERPIXEL_SIDE = 800
"""Long side at which superpixels are computed: more takes seconds and gives the same regions."""
_SUPERPIXELS = 400
_DECODING = BoundedSemaphore(2)
"""Full-size photos and masks in memory at once."""
Labels = NDArray[np.uint8]
ArrayT = TypeVar("ArrayT", NDArray[np.uint8], NDArray[np.uint16])


def view_size(size: tuple[int, int], side: int = VIEW_SIDE) -> tuple[int, int]:
    """Return the (h, w) at which a photo of ``size`` is shown; never larger than the photo."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@lru_cache(maxsize=2000)
def thumbnail(image: Path, stamp: int) -> bytes:
    """Return a small JPEG of a photo; ``stamp`` is its time, so that a changed one is read again.

    Raises:
        DataError: the photo can't be read.
    """
    return _jpeg(image, THUMB_SIDE, quality=80)


def photo_view(image: Path) -> bytes:
    """Return a JPEG of a photo at the size of `view_size`.

    Raises:
        DataError: the photo can't be read.
    """
    return _jpeg(image, VIEW_SIDE, quality=90)


def mask_view(path: Path, classes: int) -> Labels:
    """Return a mask at the size of `view_size`: each pixel is one of the mask's own.

    Raises:
        DataError: the mask can't be read.
    """
    with _DECODING:
        mask = read_mask(path, classes)
        return sampled(mask, view_size((mask.shape[0], mask.shape[1])))


def map_view(path: Path, tag: int | None) -> Labels | None:
    """Return the scores of a class, or the highest of all classes, 0 .. 255, at the maps' stride.

    Args:
        path: the photo's maps.
        tag: tag id; None: all classes.

    Returns:
        uint8 (h, w); None if the class has no map.

    Raises:
        DataError: the maps can't be read.
    """
    found = read_map(path)
    if tag is not None and tag not in found.tags:
        return None
    if not len(found.scores):
        return None
    scores = found.scores.max(axis=0) if tag is None else found.scores[found.tags.index(tag)]
    shown: Labels = np.rint(scores * 255).astype(np.uint8)
    return shown


def superpixels(image: Path, size: tuple[int, int]) -> NDArray[np.uint16]:
    """Divide a photo into regions of similar color, by SLIC.

    Achanta et al., "SLIC Superpixels Compared to State-of-the-art Superpixel Methods", PAMI 2012.

    Args:
        image: the photo.
        size: (h, w) of the result.

    Raises:
        DataError: the photo can't be read.
    """
    from skimage.segmentation import slic

    with _DECODING:
        photo = fitted(read_image(image, at_least=SUPERPIXEL_SIDE), SUPERPIXEL_SIDE)
    regions = slic(np.asarray(photo), n_segments=_SUPERPIXELS, compactness=12, start_label=0)
    return sampled(regions.astype(np.uint16), size)


def sampled(values: ArrayT, size: tuple[int, int]) -> ArrayT:
    """Return an array (h, w) at another size; each pixel is the nearest one."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in zip(size, values.shape, strict=True)
    )
    nearest: ArrayT = values[rows[:, None], columns[None]]
    return nearest


def merged_edit(full: Labels, edited: Labels) -> Labels:
    """Return a mask with the pixels that were edited at the size of the page.

    Where nothing was changed, the mask keeps its own pixels, finer than those of the page.

    Args:
        full: the mask that was shown, uint8 (h, w) of the photo's size.
        edited: what became of its view, of the size of `view_size`.
    """
    height, width = full.shape
    changed = sampled(full, (edited.shape[0], edited.shape[1])) != edited
    result = full.copy()
    rows = ((np.arange(height) + 0.5) * edited.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * edited.shape[1] / width).astype(np.int64)
    for first in range(0, height, 256):  # a strip at a time bounds the memory of a huge photo
        part = rows[first : first + 256, None], columns[None]
        np.copyto(result[first : first + 256], edited[part], where=changed[part])
    return result


def _jpeg(path: Path, side: int, *, quality: int) -> bytes:
    with _DECODING:
        photo = fitted(read_image(path, at_least=side), side)
    content = io.BytesIO()
    photo.save(content, format="JPEG", quality=quality)
    return content.getvalue()


def photo_size(image: Path, known: tuple[int, int] | None) -> tuple[int, int]:
    """Return a photo's (h, w) px, from its header where it isn't known."""
    return known or image_size(image)
