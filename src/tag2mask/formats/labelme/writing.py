"""Masks as LabelMe's JSON, one file beside each photo."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.classes import IGNORE, ClassSet
from tag2mask.files.json_file import write_json
from tag2mask.formats.annotations import ExportResult, MaskedPhoto
from tag2mask.formats.pixels.parts import mask_parts
from tag2mask.formats.pixels.polygons import mask_polygons

_VERSION = "5.5.0"
"""Of LabelMe, whose format is written."""


def write_labelme(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, polygons: bool = False
) -> ExportResult:
    """Write ``<photo>.json`` for each photo, with one shape per connected part of a class.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; each file is where its photo is.
        polygons: outlines instead of masks, one per part whose pixels share edges.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    count = left_out = 0
    for photo in photos:
        mask = photo.mask()
        path = PurePosixPath(photo.file_name)
        shapes = list(_shapes(mask, classes, polygons))
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": path.name,
            "imageData": None,
            "imageHeight": photo.size[1],
            "imageWidth": photo.size[0],
        }
        write_json(out / path.with_suffix(".json"), content)
        count += 1
        left_out += int(np.count_nonzero(mask == IGNORE))
    return ExportResult(count, left_out)


def _shapes(mask: NDArray[np.uint8], classes: ClassSet, polygons: bool) -> Iterator[dict[str, Any]]:
    for part in mask_parts(mask):
        left, top, width, height = part.box
        shape: dict[str, Any] = {
            "label": classes.mask_names[part.value],
            "group_id": None,
            "description": "",
            "flags": {},
        }
        if polygons:
            for outline in mask_polygons(part.pixels, left, top):
                yield {**shape, "shape_type": "polygon", "points": outline, "mask": None}
        else:
            corners = [[left, top], [left + width - 1, top + height - 1]]
            png = _png(part.pixels)
            yield {**shape, "shape_type": "mask", "points": corners, "mask": png}


def _png(pixels: NDArray[np.bool_]) -> str:
    """Return pixels (h, w) as a PNG of 8 bits of gray, in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
