"""Masks drawn from COCO's outlines.

Small objects are drawn over large ones. Crowds are ignored (255) where no object covers them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import IGNORE
from tag2mask.errors import DataError
from tag2mask.formats.coco.instances import (
    ByteRange,
    CocoId,
    CocoOutlines,
    coco_id,
    is_crowd,
)
from tag2mask.formats.coco.outlines import draw_outline


class _PhotoOutlines(NamedTuple):
    """A photo's outlines, which are in the JSON file."""

    file: Path
    size: tuple[int, int]
    """(h, w) px, as in the JSON; 0 where it doesn't give it."""
    outlines: CocoOutlines


class _DrawnObject(NamedTuple):
    """One object's pixels, bool (h, w), and their mask id."""

    value: int
    pixels: NDArray[np.bool_]


class CocoMaskDrawer:
    """Draws masks from the outlines in the JSON files (a `MaskDrawer`).

    Args:
        values: mask id of each category id.
    """

    def __init__(self, values: dict[CocoId, int]) -> None:
        self._values = values
        self._photos: dict[str, _PhotoOutlines] = {}

    def add(self, id: str, file: Path, size: tuple[int, int], outlines: CocoOutlines) -> None:
        """Add a photo: its JSON file, its (h, w) there, and its outlines."""
        self._photos[id] = _PhotoOutlines(file, size, outlines)

    def misfit(self, id: str, size: tuple[int, int]) -> str:
        """Return why the outlines can't be those of a photo of ``size``; empty: they may be."""
        path, (height, width), outlines = self._photos[id]
        if min(height, width) > 0 and size != (height, width):
            turned = (
                "; if it is turned by its EXIF orientation, save it upright without it and turn "
                "the outlines"
            )
            return (
                f"photo {id!r} has a different size: {width}x{height} in {path.name}, "
                f"{size[1]}x{size[0]} px in its file{turned if size == (width, height) else ''}"
            )
        misfit = outlines.extent.misfit(size)
        return f"photo {id!r} of {path.name}: {misfit}" if misfit else ""

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw the mask of a photo.

        Args:
            id: the photo.
            size: its (h, w) in px.

        Returns:
            uint8 (h, w): 0 background, 1..C classes, 255 crowds.

        Raises:
            DataError: the outlines don't fit the photo (see `misfit`), one is of an unknown
                category, or the file was changed.
        """
        path, _, outlines = self._photos[id]
        # Checked before drawing, since a wrong size may take all memory.
        misfit = self.misfit(id, size)
        if misfit:
            raise DataError(
                misfit, where=path, fix="Correct the annotations, or replace the photo."
            )
        with path.open("rb") as file:
            objects = [self._draw_object(file, place, id, path, size) for place in outlines.places]
        mask = np.zeros(size, np.uint8)
        # Crowds first, then from large to small.
        for drawn in sorted(objects, key=lambda o: (o.value != IGNORE, -int(o.pixels.sum()))):
            mask[drawn.pixels] = drawn.value
        return mask

    def _draw_object(
        self, file: IO[bytes], place: ByteRange, id: str, path: Path, size: tuple[int, int]
    ) -> _DrawnObject:
        file.seek(place.start)
        text = file.read(place.length)
        number: Any = "?"
        try:
            annotation = json.loads(text)
            number = annotation.get("id")
            category = coco_id(annotation["category_id"])
            pixels = draw_outline(annotation["segmentation"], *size)
        except Exception as error:  # pycocotools raises bare ones
            raise DataError(
                f"damaged outline of photo {id!r} (annotation {number}): {error}",
                where=path,
                fix="Fix or remove the annotation.",
            ) from None
        if category not in self._values:
            raise DataError(
                f"annotation {number} of photo {id!r} is of the unknown category {category}",
                where=path,
                fix="List it in `categories`, or fix the annotation.",
            )
        value = IGNORE if is_crowd(annotation) else self._values[category]
        return _DrawnObject(value, pixels)
