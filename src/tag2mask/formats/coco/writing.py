"""Masks as COCO's JSON: run-length codes, or polygons along the edges of pixels.

`pycocotools` reads exactly the written mask from both, but for ignored pixels, which COCO lacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tag2mask.classes import IGNORE, ClassSet
from tag2mask.files.atomic import atomic_write
from tag2mask.formats.annotations import ExportResult, MaskedPhoto
from tag2mask.formats.pixels.parts import mask_parts
from tag2mask.formats.pixels.polygons import mask_polygons
from tag2mask.version import __version__


def write_coco(
    photos: Iterable[MaskedPhoto],
    classes: ClassSet,
    out: Path,
    *,
    polygons: bool = False,
    by_class: bool = False,
) -> ExportResult:
    """Write ``annotations/instances_<split>.json``.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes; the category ids are the mask ids, from 1.
        out: folder of the export.
        polygons: outlines instead of run-length codes.
        by_class: one annotation per class of a photo; else one per connected part.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    files: dict[str, _InstancesFile] = {}
    left_out = 0
    with ExitStack() as stack:
        for photo in photos:
            if photo.split not in files:
                path = out / "annotations" / f"instances_{photo.split}.json"
                file = stack.enter_context(stack.enter_context(atomic_write(path)).open("w"))
                files[photo.split] = _InstancesFile(file, classes)
            mask = photo.mask()
            left_out += int(np.count_nonzero(mask == IGNORE))
            shapes = _polygons(mask, by_class) if polygons else _run_lengths(mask, by_class)
            files[photo.split].add(photo, shapes)
        for instances in files.values():
            instances.finish()
    return ExportResult(sum(file.photos for file in files.values()), left_out)


class _Shape(NamedTuple):
    """One object."""

    value: int
    """Mask id of its class."""
    segmentation: Any
    area: int
    box: tuple[int, int, int, int]


class _InstancesFile:
    """A JSON file whose annotations are written one by one, and its images at the end."""

    def __init__(self, file: IO[str], classes: ClassSet) -> None:
        self._file = file
        self._images: list[str] = []
        self._annotations = 0
        categories = [
            {"id": value, "name": name, "supercategory": ""}
            for value, name in enumerate(classes.names, 1)
        ]
        info = {"description": f"Masks of tag2mask {__version__}"}
        file.write(f'{{"info": {json.dumps(info)},\n"licenses": [],\n')
        file.write(f'"categories": {json.dumps(categories)},\n"annotations": [')

    @property
    def photos(self) -> int:
        """Number of photos added."""
        return len(self._images)

    def add(self, photo: MaskedPhoto, shapes: Iterable[_Shape]) -> None:
        """Write the annotations of a photo."""
        width, height = photo.size
        key = len(self._images) + 1
        image = {"id": key, "file_name": photo.file_name, "width": width, "height": height}
        self._images.append(json.dumps(image))
        for shape in shapes:
            self._annotations += 1
            annotation = {
                "id": self._annotations,
                "image_id": key,
                "category_id": shape.value,
                "segmentation": shape.segmentation,
                "area": shape.area,
                "bbox": shape.box,
                "iscrowd": 0,
            }
            comma = "," if self._annotations > 1 else ""
            self._file.write(f"{comma}\n{json.dumps(annotation)}")

    def finish(self) -> None:
        """Write the images and close the file."""
        images = ",\n".join(self._images)
        self._file.write(f'\n],\n"images": [\n{images}\n]}}\n')
        self._file.close()


def _run_lengths(mask: NDArray[np.uint8], by_class: bool) -> Iterator[_Shape]:
    """Yield the objects of a mask (h, w) as compressed run-length codes."""
    size = list(mask.shape)
    parts = list(mask_parts(mask, by_class=by_class))
    plain = [{"counts": part.runs, "size": size} for part in parts]
    codes = coco_mask.frPyObjects(plain, *size) if plain else []
    for part, code in zip(parts, codes, strict=True):
        segmentation = {"size": size, "counts": code["counts"].decode()}
        yield _Shape(part.value, segmentation, part.area, part.box)


def _polygons(mask: NDArray[np.uint8], by_class: bool) -> Iterator[_Shape]:
    """Yield the objects of a mask (h, w) as polygons."""
    for part in mask_parts(mask, by_class=by_class):
        outlines = mask_polygons(part.pixels, *part.box[:2])
        flat = [[number for corner in outline for number in corner] for outline in outlines]
        yield _Shape(part.value, flat, part.area, part.box)
