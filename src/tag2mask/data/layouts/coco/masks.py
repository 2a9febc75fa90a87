"""Masks drawn from COCO's outlines: polygons and run-length codes.

Small objects are drawn over large ones. Crowds are ignored (255) where no object covers them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tag2mask.classes import IGNORE
from tag2mask.data.layouts.coco.annotations import ByteRange
from tag2mask.errors import DataError


class _PhotoOutlines(NamedTuple):
    """Where a photo's outlines are."""

    file: Path
    """The JSON file."""
    size: tuple[int, int]
    """(h, w) px, as in the JSON."""
    annotations: list[ByteRange]


class _DrawnObject(NamedTuple):
    """One object's pixels, bool (h, w), and their mask id."""

    value: int
    pixels: NDArray[np.bool_]


class CocoMaskDrawer:
    """Draws masks from the outlines in the JSON files (a `MaskDrawer`).

    Args:
        values: mask id of each category id.
    """

    def __init__(self, values: dict[int, int]) -> None:
        self._values = values
        self._photos: dict[str, _PhotoOutlines] = {}

    def add(self, id: str, file: Path, size: tuple[int, int], annotations: list[ByteRange]) -> None:
        """Add a photo: its JSON file, its (h, w) there, and the positions of its annotations."""
        self._photos[id] = _PhotoOutlines(file, size, annotations)

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw the mask of a photo.

        Args:
            id: the photo.
            size: its (h, w) in px.

        Returns:
            uint8 (h, w): 0 background, 1..C classes, 255 crowds.

        Raises:
            DataError: an outline is damaged or of an unknown category, or the photo has another
                size in the JSON.
        """
        path, (height, width), annotations = self._photos[id]
        # Checked before drawing, since a wrong size may take all memory.
        if size != (height, width):
            raise DataError(
                f"photo {id!r} has another size: {width}x{height} in the JSON, "
                f"{size[1]}x{size[0]} px in its file",
                where=path,
                fix="If it is turned by its EXIF orientation, save it upright without it and turn "
                "the outlines; else correct its width and height."
                if size == (width, height)
                else "Correct its width and height, or replace the photo.",
            )
        with path.open("rb") as file:
            objects = [self._draw_object(file, place, id, path, size) for place in annotations]
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
            category = int(annotation["category_id"])
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
        value = IGNORE if annotation.get("iscrowd") else self._values[category]
        return _DrawnObject(value, pixels)


def draw_outline(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Draw polygons, or a run-length code in either form.

    Args:
        segmentation: the member of that name of an annotation.
        height: of the photo, px.
        width: of the photo, px.

    Returns:
        bool (h, w): True inside the outline.

    Raises:
        ValueError: a damaged outline, also one on which pycocotools would crash or return garbage.
    """
    if isinstance(segmentation, list):
        for polygon in segmentation:
            _check_polygon(polygon, height, width)
        # Fewer than three corners have no area; pycocotools would read four numbers as a box.
        polygons = [p for p in segmentation if len(p) >= 6]
        if not polygons:
            return np.zeros((height, width), np.bool_)
        code = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict):
        return _decode_runs(segmentation, height, width)
    else:
        raise ValueError(
            f"{str(segmentation)[:40]!r} is neither a list of polygons nor a run-length code"
        )
    inside: NDArray[np.bool_] = coco_mask.decode(code).astype(np.bool_)
    return inside


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    """Refuse a polygon that pycocotools can't fill: its memory grows with the length in pixels."""
    if not isinstance(polygon, list) or not all(type(n) in (int, float) for n in polygon):
        raise ValueError("a polygon is a list of numbers, x, y, x, y, ...")
    if len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers, which should be pairs of x and y")
    for side, numbers in ((width, polygon[::2]), (height, polygon[1::2])):
        # Outlines in tiles cut from large photos reach far over the border. NaN fails the test too.
        most = max(10 * side, 10_000)
        for number in numbers:
            if not -most <= number <= most:
                raise ValueError(
                    f"the coordinate {number} is far outside of the photo, {width}x{height} px"
                )


def _decode_runs(segmentation: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels (h, w) of a run-length code: runs outside and inside in turn, by column.

    pycocotools isn't used here: runs that end too soon make it read uninitialized memory.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"its size {size} is not the photo's {[height, width]}")
    if isinstance(counts, str):
        runs = _decompress_runs(counts)
    elif isinstance(counts, list) and all(
        type(n) is int or (type(n) is float and n.is_integer()) for n in counts
    ):
        runs = [int(n) for n in counts]
    else:
        raise ValueError("its counts are neither a string nor a list of whole numbers")
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"its counts come to {sum(runs)} pixels, or some are negative; the photo "
            f"has {height * width}"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((width, height)).T


def _decompress_runs(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed form.

    A number is a sequence of characters of five bits each, the lowest first. The sixth bit of a
    character says that more follow; the fifth bit of the last one is the sign. From the fourth run
    on, the number is the difference to the run two before.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its counts contain the character {character!r}")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("its counts are cut off")
    return runs
