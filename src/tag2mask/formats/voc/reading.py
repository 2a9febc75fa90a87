"""Masks and objects of VOC, photo by photo, with or without lists of ids."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tag2mask.classes import name_kind
from tag2mask.errors import DataError
from tag2mask.formats.annotations import AnnotatedPhoto
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import files_below
from tag2mask.formats.text_files.text_lines import read_lines
from tag2mask.formats.voc.label_map import LABEL_MAP, VOC_LABELS, LabelMap, read_label_map
from tag2mask.formats.voc.mask_images import mask_regions
from tag2mask.formats.voc.objects import read_objects
from tag2mask.formats.voc.writing import LISTS, MASKS

OBJECTS = "Annotations"
_CLASS_LIST = "classes.txt"
_NO_SPLIT = "default"
"""CVAT's name of the subset of photos that have none."""


def read_voc(root: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a folder that have masks, or objects in XML; masks give regions.

    Photos are named by the paths of their files without suffix: the ``<filename>`` in XML is an
    old one where files were renamed. The names of objects are labels of a photo without a mask; a
    mask shows all that counts (of difficult objects, its pixels are often to be ignored).

    Raises:
        DataError: the folder has neither masks nor XML, or a damaged list of classes.
        ProblemsError: after the last photo, with what is wrong with each damaged file.
    """
    masks = {without_ending(path): path for path in files_below(root / MASKS, {".png"})}
    objects = {without_ending(path): path for path in files_below(root / OBJECTS, {".xml"})}
    if not masks and not objects:
        raise DataError(
            f"no masks in {MASKS}/ and no XML in {OBJECTS}/", where=root, fix="Give VOC's folder."
        )
    labels = voc_labels(root)
    splits = _splits(root)

    def read(id: str) -> AnnotatedPhoto:
        if id in masks:
            size, regions = mask_regions(root / MASKS / masks[id], labels)
            return AnnotatedPhoto(id, size, splits.get(id), (), regions)
        photo = read_objects_file(root / OBJECTS, objects[id])
        return replace(photo, file_name=id, split=splits.get(id))

    yield from each_photo(sorted({*masks, *objects}), read, root)


def read_objects_file(root: Path, file: str) -> AnnotatedPhoto:
    """Return the photo of an XML file; its name is relative to ``root``, as that of the file is.

    Raises:
        DataError: not VOC's XML.
    """
    try:
        with (root / file).open("rb") as content:
            found = read_objects(content)
    except (ValueError, OSError) as error:
        raise DataError(
            f"not VOC's XML: {error}", where=root / file, fix="Fix or replace it."
        ) from None
    name = PurePosixPath(found.file_name.replace("\\", "/")).name
    path = posixpath.join(posixpath.dirname(file), name) if name else without_ending(file)
    tags = tuple(dict.fromkeys(found.names))
    return AnnotatedPhoto(path, found.size, None, tags, ())


def voc_labels(root: Path) -> LabelMap:
    """Return the labels of a folder's masks: of ``labelmap.txt``, of ``classes.txt``, or VOC's.

    Raises:
        DataError: the file can't be read.
    """
    if (root / LABEL_MAP).is_file():
        return read_label_map(root / LABEL_MAP)
    if (root / _CLASS_LIST).is_file():
        names = [line.strip() for line in read_lines(root / _CLASS_LIST) if line.strip()]
        first = () if names and name_kind(names[0]) == "background" else ("background",)
        return LabelMap((*first, *names))
    return VOC_LABELS


def without_ending(path: str) -> str:
    """Return a path without the suffix of its file."""
    return path.rpartition(".")[0]


def _splits(root: Path) -> dict[str, str]:
    """Return the splits by id; ``trainval`` doesn't count."""
    splits: dict[str, str] = {}
    for path in sorted((root / LISTS).glob("*.txt")):
        if path.stem not in (_NO_SPLIT, "trainval"):
            splits.update({line.strip(): path.stem for line in read_lines(path) if line.strip()})
    return splits
