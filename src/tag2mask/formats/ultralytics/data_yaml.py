"""``data.yaml`` of Ultralytics and YOLO: folders of photos by split, and names of classes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from tag2mask.errors import DataError
from tag2mask.files.atomic import write_text
from tag2mask.formats.annotations import label_text
from tag2mask.formats.photo_names import PhotoNames, files_below, is_folder, stem_path
from tag2mask.formats.text_files.readable import readable
from tag2mask.text.yaml_text import parse_yaml

YAML_NAME = "data.yaml"
_IMAGES = "images"
_SPLITS = ("train", "val", "test")


def write_data_yaml(
    out: Path,
    place: Path,
    splits: Iterable[str],
    names: Mapping[int, str],
    *,
    masks_dir: str | None = None,
) -> tuple[str, ...]:
    """Write ``data.yaml``; return a note where one folder is named for two splits.

    Args:
        out: folder of the export.
        place: where it will be once it is complete.
        splits: that have photos.
        names: of the classes by number.
        masks_dir: folder that replaces ``images`` for masks; None: there are none.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    sides, notes = _split_folders(splits)
    masks = {"masks_dir": masks_dir} if masks_dir is not None else {}
    content: dict[str, object] = {"path": place.resolve().as_posix(), **sides, **masks}
    content["names"] = dict(names)
    write_text(out / YAML_NAME, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    return notes


def _split_folders(splits: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
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
        with readable(file):
            content = parse_yaml(file.read_bytes().decode("utf-8-sig"))
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
        numbers = {int(key): name for key, name in pairs.items()}
    except (TypeError, ValueError):
        raise DataError(
            "the keys of `names` are not numbers", where=file, fix="Number the classes from 0."
        ) from None
    return {number: _name_of(number, name, file) for number, name in sorted(numbers.items())}


def _name_of(number: int, name: object, file: Path) -> str:
    try:
        return label_text(name)
    except ValueError as error:
        raise DataError(
            f"class {number} of `names`: {error}",
            where=file,
            fix="In YAML, no, yes, on, off and null are not texts without quotes.",
        ) from None


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
        if is_folder(file.parent / folder):
            return folder
    return "/".join(parts if not path.is_absolute() else parts[-2:])


class PhotoFile(NamedTuple):
    """The file of labels or the mask of one photo."""

    path: Path
    split: str
    photo: str
    """Relative to the data set's folder; without suffix where the photo doesn't exist."""


def files_of_photos(
    content: Mapping[str, Any], file: Path, other: str, suffixes: Collection[str]
) -> Iterator[PhotoFile]:
    """Yield the files that have the names of photos, split by split.

    Args:
        content: of the data set's YAML.
        file: the YAML.
        other: folder that replaces ``images``.
        suffixes: of the files.

    Raises:
        DataError: the YAML names no folder of photos, or they have no ``images`` to replace.
    """
    photos = PhotoNames()
    for split, images in photo_folders(content, file):
        folder = file.parent / _replaced_folder(images, other, file)
        for relative in files_below(folder, suffixes):
            photo = photos.find(file.parent, f"{images}/{stem_path(relative)}")
            yield PhotoFile(folder / relative, split, photo)


def _replaced_folder(photos: str, other: str, file: Path) -> str:
    """Return the folder of other files: the last ``images`` in the path replaced by ``other``.

    Raises:
        DataError: the path has no part ``images``.
    """
    parts = list(PurePosixPath(photos).parts)
    if _IMAGES not in parts:
        raise DataError(
            f"the folder of photos {photos!r} has no part `{_IMAGES}` to replace by {other!r}",
            where=file,
            fix=f"Put the photos into {_IMAGES}/ and the other files into {other}/.",
        )
    last = len(parts) - 1 - parts[::-1].index(_IMAGES)
    return "/".join([*parts[:last], other, *parts[last + 1 :]])
