"""Masks of one class each: 255 where a photo shows it, else 0.

::

    images/a.jpg
    masks/dog/a.png, masks/cat/a.png      8 bits of gray; one per class, also where all is 0
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.items import path_problem
from tag2mask.classes import IGNORE, ClassSet, mask_id
from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.annotations import AnnotatedPhoto, ExportResult, MaskedPhoto, Region
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import PhotoNames, files_below, stem_path
from tag2mask.formats.pixels.gray_masks import MASK_SUFFIXES, read_values, write_gray

_MASKS, _IMAGES = "masks", "images"
_NO_FOLDER = frozenset('<>:"/\\|?*')
"""Characters that names of folders must not have on some systems."""
_FULL = (1, 255)
"""What stands for the class."""


def write_binary(photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path) -> ExportResult:
    """Write ``masks/<class>/<id>.png``.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; photos are in ``images/``.

    Raises:
        DataError: a class whose name can't be that of a folder.
        RunFolderError: the disk is full or the folder may not be written.
    """
    _check_names(classes, out)
    count = left_out = 0
    for photo in photos:
        mask = photo.mask()
        left_out += int(np.count_nonzero(mask == IGNORE))
        for tag, name in enumerate(classes.names):
            pixels = np.where(mask == mask_id(tag), np.uint8(255), np.uint8(0))
            write_gray(out / _MASKS / name / f"{photo.id}.png", pixels)
        count += 1
    return ExportResult(count, left_out)


def _check_names(classes: ClassSet, out: Path) -> None:
    """Check that each class can have a folder of its name.

    Raises:
        ProblemsError: listing those that can't.
    """
    problems = [
        f"{name!r} can't be the name of a folder"
        for name in classes.names
        if path_problem(name) or name.startswith(".") or name[-1:] in ". " or _NO_FOLDER & {*name}
    ]
    seen: dict[str, str] = {}
    for name in classes.names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            problems.append(f"{other!r} and {name!r} are one folder on some systems")
    if problems:
        raise ProblemsError(
            "classes whose masks can't have folders",
            problems,
            where=out,
            fix="Rename them, or export another format:",
        )


def is_binary(path: Path) -> bool:
    """Return whether a folder has ``masks/<class>/``, by the first mask of each class.

    They are 0 and 255 alone; if all are 0, the classes must have masks of the same photos.
    """
    masks = path / _MASKS
    if not masks.is_dir() or any(p.suffix.lower() in MASK_SUFFIXES for p in masks.iterdir()):
        return False
    found: dict[str, list[str]] = {}
    for relative in files_below(masks, MASK_SUFFIXES):
        name, _, inner = relative.partition("/")
        found.setdefault(name, []).append(inner)
    try:
        firsts = [read_values(masks / name / inner[0]) for name, inner in found.items()]
    except DataError:
        return False
    values = {int(value) for first in firsts for value in np.unique(first)}
    same = all(inner == next(iter(found.values())) for inner in found.values())
    return bool(found) and values <= {0, 255} and (255 in values or same)


def read_binary(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a folder of this format; each class's own folder is below ``masks/``.

    Args:
        path: the folder, or its ``masks/``.

    Raises:
        DataError: no masks in it.
        ProblemsError: after the other photos, all whose masks can't be read.
    """
    masks = path / _MASKS if (path / _MASKS).is_dir() else path
    found: dict[str, dict[str, Path]] = {}
    for relative in files_below(masks, MASK_SUFFIXES):
        name, _, inner = relative.partition("/")
        if inner:
            found.setdefault(stem_path(inner), {})[name] = masks / relative
    if not found:
        raise DataError(
            "no masks of classes in it", where=path, fix="Give the folder around masks/<class>/."
        )
    photos = PhotoNames()

    def read(item: tuple[str, dict[str, Path]]) -> AnnotatedPhoto:
        id, files = item
        sizes: set[tuple[int, int]] = set()
        regions = []
        for name, file in files.items():
            pixels = read_pixels(file)
            sizes.add((pixels.shape[1], pixels.shape[0]))
            if pixels.any():
                regions.append(Region(name, None, "mask", partial(read_pixels, file)))
        if len(sizes) > 1:
            raise DataError(
                f"the masks of photo {id!r} have {len(sizes)} sizes",
                where=masks,
                fix="Export them again.",
            )
        name = photos.find(masks.parent / _IMAGES, id)
        return AnnotatedPhoto(name, sizes.pop(), None, (), tuple(regions))

    return each_photo(found.items(), read, masks)


def read_pixels(path: Path) -> NDArray[np.bool_]:
    """Return a mask of one class, bool (h, w): 0 is outside, 255 (or 1) inside.

    Raises:
        DataError: it can't be read, or has other values.
    """
    values = read_values(path)
    pixels = np.isin(values, _FULL)
    if (values[~pixels] != 0).any():
        raise DataError(
            "mask of one class has other values than 0 and 255",
            where=path,
            fix="Export it again without soft edges.",
        )
    return pixels
