"""Masks as Ultralytics reads them for semantic segmentation.

::

    data.yaml                  path, train, val, masks_dir, names (0: background)
    images/train/a.jpg
    masks/train/a.png          8 bits of gray: 0 background, 1, 2, ... classes, 255 ignore

Format: https://docs.ultralytics.com/datasets/semantic
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tag2mask.artifacts.items import path_problem
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet, name_kind
from tag2mask.errors import DataError
from tag2mask.formats.annotations import IGNORE_LABEL, AnnotatedPhoto, ExportResult, MaskedPhoto
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.pixels.gray_masks import MASK_SUFFIXES, value_regions, write_split_masks
from tag2mask.formats.ultralytics.data_yaml import (
    PhotoFile,
    class_names,
    files_of_photos,
    find_yaml,
    read_data_yaml,
    write_data_yaml,
)

_MASKS_DIR = "masks"


def write_ultralytics(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, place: Path | None = None
) -> ExportResult:
    """Write ``masks/<split>/<photo>.png`` and ``data.yaml`` (see the module's docstring).

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; photos are in ``images/<split>/``.
        place: where the folder will be once it is complete; None: ``out``.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    splits = write_split_masks(photos, out / _MASKS_DIR)
    names = dict(enumerate(classes.mask_names))
    notes = write_data_yaml(out, place or out, splits, names, masks_dir=_MASKS_DIR)
    return ExportResult(splits.total(), notes=notes)


def read_ultralytics(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a folder or of its YAML, split by split; masks without photos too.

    Raises:
        DataError: no YAML with ``masks_dir``, a damaged one, or folders outside of it.
        ProblemsError: after the other photos, all masks that can't be read.
    """
    file = find_yaml(path)
    content = read_data_yaml(file)
    names = class_names(content, file)
    labels = {
        **{value: None if name_kind(n) == "background" else n for value, n in names.items()},
        IGNORE: IGNORE_LABEL,
    }
    labels.setdefault(BACKGROUND, None)

    def read(mask: PhotoFile) -> AnnotatedPhoto:
        size, regions = value_regions(mask.path, labels)
        return AnnotatedPhoto(mask.photo, size, mask.split, (), regions)

    return each_photo(mask_files(file), read, file)


def mask_files(file: Path) -> Iterator[PhotoFile]:
    """Return the masks of a data set, split by split.

    Args:
        file: its YAML.

    Raises:
        DataError: it can't be read, names no folder of photos, or folders outside of its own.
    """
    content = read_data_yaml(file)
    return files_of_photos(content, file, _masks_dir(content, file), MASK_SUFFIXES)


def _masks_dir(content: Mapping[str, Any], file: Path) -> str:
    """Return the name that replaces ``images``.

    Raises:
        DataError: it leads out of the data set's folder.
    """
    name = str(content.get("masks_dir") or _MASKS_DIR)
    problem = path_problem(name)
    if problem is not None:
        raise DataError(
            f"masks_dir {name!r} {problem}", where=file, fix=f"Write `masks_dir: {_MASKS_DIR}`."
        )
    return name
