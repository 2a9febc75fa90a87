"""Masks as Ultralytics reads them for semantic segmentation.

::

    data.yaml                  path, train, val, masks_dir, names (0: background)
    images/train/a.jpg
    masks/train/a.png          8 bits of gray: 0 background, 1, 2, ... classes, 255 ignore

Format: https://docs.ultralytics.com/datasets/semantic
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from tag2mask.artifacts.files import write_text
from tag2mask.artifacts.items import path_problem
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet, name_kind
from tag2mask.errors import DataError
from tag2mask.formats.annotations import IGNORE_LABEL, AnnotatedPhoto, ExportResult, MaskedPhoto
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.gray_masks import MASK_SUFFIXES, value_regions, write_gray
from tag2mask.formats.photo_names import PhotoNames, files_below, stem_path
from tag2mask.text.yaml_text import parse_yaml

YAML_NAME = "data.yaml"
_MASKS_DIR = "masks"
_SPLITS = ("train", "val", "test")


def ultralytics_photo_path(photo: MaskedPhoto) -> str:
    """Return where the exported photo must be, relative to the folder of the export."""
    return f"images/{photo.split}/{photo.file_name}"


def write_ultralytics(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, place: Path | None = None
) -> ExportResult:
    """Write ``masks/<split>/<photo>.png`` and ``data.yaml`` (see the module's docstring).

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; photos are at `ultralytics_photo_path`.
        place: where the folder will be once it is complete; None: ``out``.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    splits: dict[str, int] = {}
    for photo in photos:
        splits[photo.split] = splits.get(photo.split, 0) + 1
        stem = stem_path(photo.file_name)
        write_gray(out / _MASKS_DIR / photo.split / f"{stem}.png", photo.mask())
    sides, notes = split_folders(splits)
    content = {
        "path": (place or out).resolve().as_posix(),
        **sides,
        "masks_dir": _MASKS_DIR,
        "names": dict(enumerate(classes.mask_names)),
    }
    write_text(out / YAML_NAME, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    return ExportResult(sum(splits.values()), notes=notes)


def split_folders(splits: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the folders of photos by split, and a note where one is named twice.

    Ultralytics needs both ``train`` and ``val``; where all photos are of one split, both name it.
    """
    found = {split: f"images/{split}" for split in sorted(splits)}
    if not found:
        return {"train": "images/train", "val": "images/train"}, ()
    notes = []
    for split, other in (("train", "val"), ("val", "train")):
        if split not in found:
            found[split] = found.get(other, next(iter(found.values())))
            notes.append(
                f"{split} in {YAML_NAME} names {found[split]} too, since no photo is of that split"
            )
    order = [*(split for split in _SPLITS if split in found), *sorted({*found} - {*_SPLITS})]
    return {split: found[split] for split in order}, tuple(notes)


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
    root, masks_dir = file.parent, _masks_dir(content, file)
    photos = PhotoNames()
    found: list[tuple[str, str, Path]] = []
    for split, images in photo_folders(content, file):
        masks = _masks_folder(root, images, masks_dir)
        for relative in files_below(root / masks, MASK_SUFFIXES):
            name = photos.find(root, f"{images}/{stem_path(relative)}")
            found.append((split, name, root / masks / relative))

    def read(item: tuple[str, str, Path]) -> AnnotatedPhoto:
        split, name, mask = item
        size, regions = value_regions(mask, labels)
        return AnnotatedPhoto(name, size, split, (), regions)

    return each_photo(found, read, file)


def ultralytics_classes(path: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of their numbers, the background included.

    Raises:
        DataError: as `read_ultralytics`.
    """
    file = find_yaml(path)
    return tuple(class_names(read_data_yaml(file), file).values())


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


def _masks_folder(root: Path, images: str, masks_dir: str) -> str:
    """Return the folder of masks: ``images`` in the path replaced, as Ultralytics does.

    Raises:
        DataError: the path has no part ``images``.
    """
    parts = list(PurePosixPath(images).parts)
    if "images" not in parts:
        raise DataError(
            f"the folder of photos {images!r} has no part `images` to replace by {masks_dir!r}",
            where=root,
            fix="Put the photos into images/ and the masks into masks/.",
        )
    last = len(parts) - 1 - parts[::-1].index("images")
    return "/".join([*parts[:last], masks_dir, *parts[last + 1 :]])


def find_yaml(path: Path) -> Path:
    """Return a data set's YAML: the file itself, or the only one of a folder that has ``names``.

    Raises:
        DataError: there is none, or several.
    """
    if path.is_file():
        return path
    found = [p for p in sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if p.is_file()]
    named = [p for p in found if p.name == YAML_NAME] or found
    if len(named) != 1:
        what = "several YAML files" if named else f"no {YAML_NAME}"
        raise DataError(
            f"{what} in the folder", where=path, fix=f"Give the {YAML_NAME} of the data set."
        )
    return named[0]


def read_data_yaml(file: Path) -> dict[str, Any]:
    """Return the content of a data set's YAML.

    Raises:
        DataError: it can't be read, or isn't a mapping with ``names``.
    """
    try:
        content = parse_yaml(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"can't be read: {error.strerror}", where=file, fix="Check the path."
        ) from None
    except ValueError as error:
        raise DataError(f"not YAML: {error}", where=file, fix="Export it again.") from None
    if not isinstance(content, dict) or "names" not in content:
        raise DataError("no `names` of classes in it", where=file, fix="Export it again.")
    return content


def class_names(content: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Return the names of classes by number, sorted.

    Raises:
        DataError: ``names`` is neither a list nor a mapping from numbers to texts.
    """
    names = content["names"]
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict) or not pairs:
        raise DataError("`names` lists no classes", where=file, fix="Export it again.")
    try:
        found = {int(key): str(name).strip() for key, name in pairs.items()}
    except (TypeError, ValueError):
        raise DataError(
            "the keys of `names` are not numbers", where=file, fix="Number the classes from 0."
        ) from None
    return dict(sorted(found.items()))


def photo_folders(content: Mapping[str, Any], file: Path) -> list[tuple[str, str]]:
    """Return the split and the folder of photos, relative to the YAML's, each folder once.

    Folders are looked for below the YAML, whatever its ``path`` was where it was written.

    Raises:
        DataError: a folder would be outside, or the YAML names none.
    """
    found: dict[str, str] = {}
    for split in _SPLITS:
        value = content.get(split)
        for text in value if isinstance(value, list) else [value] if value else []:
            folder = _relative_folder(str(text), file)
            found.setdefault(folder, split)
    if not found:
        raise DataError(
            "names no folder of photos (`train`, `val`)", where=file, fix="Export it again."
        )
    return [(split, folder) for folder, split in found.items()]


def _relative_folder(text: str, file: Path) -> str:
    """Return a folder of the YAML relative to it: Roboflow writes ``../train/images``."""
    path = PurePosixPath(text.replace("\\", "/"))
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    for first in range(len(parts)):
        folder = "/".join(parts[first:])
        if (file.parent / folder).is_dir():
            return folder
    return "/".join(parts if not path.is_absolute() else parts[-2:])
