"""Masks as VOC has them, which is CVAT's "Segmentation mask 1.1"."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import numpy as np

from tag2mask.classes import BACKGROUND, IGNORE, ClassSet
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.formats.annotations import ExportResult, MaskedPhoto
from tag2mask.formats.pixels.gray_masks import save_png
from tag2mask.formats.pixels.palette_image import palette_image
from tag2mask.formats.voc.label_map import LABEL_MAP, write_label_map

MASKS = "SegmentationClass"
LISTS = "ImageSets/Segmentation"
Void = Literal["ignore", "background"]
"""What becomes of ignored pixels."""


def write_voc(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, void: Void = "ignore"
) -> ExportResult:
    """Write ``SegmentationClass/``, ``ImageSets/Segmentation/<split>.txt`` and ``labelmap.txt``.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export.
        void: ``background``: ignored pixels become background, since CVAT takes no other value than
            those of ``labelmap.txt``.

    Raises:
        DataError: a name that the lists can't hold, or an unknown ``void``.
        RunFolderError: the disk is full or the folder may not be written.
    """
    if void not in ("ignore", "background"):
        raise DataError(f"unknown value {void!r} for ignored pixels", fix="Give `background`.")
    write_label_map(out / LABEL_MAP, classes)
    lists: dict[str, IO[str]] = {}
    count = ignored = 0
    with ExitStack() as stack:
        for photo in photos:
            id = PurePosixPath(photo.file_name).with_suffix("").as_posix()
            _check_id(id)
            if photo.split not in lists:
                path = stack.enter_context(atomic_write(out / LISTS / f"{photo.split}.txt"))
                lists[photo.split] = stack.enter_context(path.open("w", encoding="utf-8"))
            lists[photo.split].write(f"{id}\n")
            mask = photo.mask()
            ignored += int(np.count_nonzero(mask == IGNORE))
            if void == "background":
                mask = np.where(mask == IGNORE, np.uint8(BACKGROUND), mask)
            save_png(out / MASKS / f"{id}.png", palette_image(mask, classes.colors))
            count += 1
    if void == "background":
        return ExportResult(count, ignored)
    note = (
        "CVAT refuses masks with ignored pixels (255): export with `--void background` for it.",
    )
    return ExportResult(count, notes=note if ignored else ())


def _check_id(id: str) -> None:
    """Check that a line of a list can hold a photo's id.

    Raises:
        DataError: it can't.
    """
    if id != id.strip() or "\n" in id or "\r" in id or not id.isprintable():
        raise DataError(
            f"lists of VOC can't hold the name {id!r}",
            fix="Rename the photo, or export to another format.",
        )
