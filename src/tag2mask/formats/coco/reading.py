"""Masks and tags from COCO's JSON, photo by photo."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.annotations import IGNORE_LABEL, AnnotatedPhoto, Region, SizeOf, score_of
from tag2mask.formats.coco.instances import (
    ByteRange,
    CocoFile,
    CocoOutlines,
    coco_id,
    is_crowd,
    read_coco_file,
)
from tag2mask.formats.coco.outlines import draw_outline, has_area
from tag2mask.formats.text_files.readable import changed_file


def read_coco(path: Path, size_of: SizeOf | None = None) -> Iterator[AnnotatedPhoto]:
    """Return the photos of a JSON file, in its order; outlines are drawn when asked for.

    Objects marked ``iscrowd`` have the label ``ignore``. A member ``score`` of an annotation is the
    region's.

    Args:
        path: the file.
        size_of: returns the size of a photo, for polygons of photos whose size isn't in the file.

    Raises:
        DataError: not COCO JSON, cut off, or items that can't be used.
    """
    return photos_of_file(read_coco_file(path), size_of)


def photos_of_file(file: CocoFile, size_of: SizeOf | None) -> Iterator[AnnotatedPhoto]:
    """Return the photos of a file that has been read, in its order; ``size_of`` as `read_coco`.

    Raises:
        ProblemsError: it has items that can't be used.
    """
    if file.problems:
        raise ProblemsError("COCO JSON with problems", file.problems, where=file.path)
    return _photos(file, size_of)


def _photos(file: CocoFile, size_of: SizeOf | None) -> Iterator[AnnotatedPhoto]:
    for key, image in file.images.items():
        height, width = image.size
        size = (width, height) if min(image.size) > 0 else None
        otherwise = partial(size_of, image.file_name) if size_of else None
        places = file.outlines.get(key, CocoOutlines()).places
        regions = tuple(_region(file, place, size, otherwise) for place in places)
        yield AnnotatedPhoto(image.file_name, size, None, (), regions)


def _region(
    file: CocoFile,
    place: ByteRange,
    size: tuple[int, int] | None,
    otherwise: Callable[[], tuple[int, int]] | None,
) -> Region:
    annotation = _read_annotation(file.path, place)
    label = file.categories[coco_id(annotation["category_id"])]
    segmentation = annotation.get("segmentation")
    score = score_of(annotation.get("score"))
    label = IGNORE_LABEL if is_crowd(annotation) else label
    if not has_area(segmentation):
        return Region(label, score, "box", None)
    is_code = isinstance(segmentation, dict)
    draw = partial(_draw, file.path, place, size, otherwise)
    return Region(label, score, "mask" if is_code else "polygon", draw)


def _read_annotation(path: Path, place: ByteRange) -> Any:
    """Read one annotation again.

    Raises:
        DataError: the file has changed.
    """
    try:
        with path.open("rb") as file:
            file.seek(place.start)
            annotation = json.loads(file.read(place.length))
            coco_id(annotation["category_id"])
            return annotation
    except (OSError, ValueError, KeyError, TypeError):
        raise changed_file(path) from None


def _draw(
    path: Path,
    place: ByteRange,
    size: tuple[int, int] | None,
    otherwise: Callable[[], tuple[int, int]] | None,
) -> NDArray[np.bool_]:
    """Draw the outline of an annotation.

    Args:
        path: the file.
        place: of the annotation.
        size: (width, height) of the photo, as the file gives it.
        otherwise: returns the photo's size, for a polygon where the file doesn't.

    Raises:
        DataError: it is damaged, or nothing gives the photo's size.
    """
    annotation = _read_annotation(path, place)
    segmentation = annotation["segmentation"]
    try:
        if size is None and otherwise is not None and not isinstance(segmentation, dict):
            size = otherwise()
        if size is None:
            size = _size_of_code(segmentation)
        return draw_outline(segmentation, size[1], size[0])
    except ValueError as error:
        raise DataError(
            f"damaged outline (annotation {annotation.get('id')}): {error}",
            where=path,
            fix="Fix or remove the annotation.",
        ) from None


def _size_of_code(segmentation: Any) -> tuple[int, int]:
    """Return the (width, height) in a run-length code.

    Raises:
        ValueError: there is none.
    """
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError("`images` doesn't give the width and height of the photo")
    return size[1], size[0]
