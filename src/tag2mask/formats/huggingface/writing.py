"""Masks as an ImageFolder with metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tag2mask.classes import ClassSet
from tag2mask.files.atomic import atomic_write, write_text
from tag2mask.formats.annotations import PHOTO_ID, ExportResult, MaskedPhoto
from tag2mask.formats.huggingface.reading import CLASSES, FILE, MASK, METADATA
from tag2mask.formats.photo_names import stem_path
from tag2mask.formats.pixels.gray_masks import write_gray


def write_huggingface(photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path) -> ExportResult:
    """Write ``<split>/metadata.jsonl``, masks and ``classes.txt`` (see the package's docstring).

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; photos are in ``<split>/images/``.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    files: dict[str, IO[str]] = {}
    count = 0
    with ExitStack() as stack:
        for photo in photos:
            if photo.split not in files:
                path = stack.enter_context(atomic_write(out / photo.split / METADATA[0]))
                files[photo.split] = stack.enter_context(path.open("w", encoding="utf-8"))
            mask = f"masks/{stem_path(photo.file_name)}.png"
            write_gray(out / photo.split / mask, photo.mask())
            row = {FILE: f"images/{photo.file_name}", MASK: mask, PHOTO_ID: photo.id}
            files[photo.split].write(f"{json.dumps(row, ensure_ascii=False)}\n")
            count += 1
        for file in files.values():
            file.close()
    write_text(out / CLASSES, "".join(f"{name}\n" for name in classes.mask_names))
    return ExportResult(count)
