"""Class folders as they are on the disk, and checks that they really are classes.

A class folder may contain folders, but some trees are another layout: folders named as splits that
contain nothing but folders of photos, or one folder around the class folders, are errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tag2mask.classes import name_kind
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.listing import MASK_FOLDER, FoundFile, list_images
from tag2mask.errors import DataError, first_few

PHOTOS_WITHOUT_TAGS_FIX = (
    "Put the photos into one folder per class, or add a tags.csv whose first line is `image,tags`."
)
_PHOTO_FOLDERS = frozenset({"images", "photos", "jpegimages", "img"})
_LABEL_FOLDERS = frozenset({"labels", "annotations", MASK_FOLDER})
_SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "test"})
"""Names that other layouts use, compared in lower case."""


class ClassFolder(NamedTuple):
    """The files of one class folder."""

    split: str
    """Empty where the data has no folders of splits."""
    name: str
    files: list[FoundFile]
    broken_links: list[str]
    other_files: list[str]

    @property
    def path(self) -> str:
        """Path below the data folder."""
        return f"{self.split}/{self.name}" if self.split else self.name

    @property
    def inner_folders(self) -> list[str]:
        """The folders in it that have all its photos; empty where a photo is beside them."""
        inner = [file.path[len(self.path) + 1 :] for file in self.files]
        if not all("/" in path for path in inner):
            return []
        return sorted({path.partition("/")[0] for path in inner})


def scan_class_folder(root: Path, split: str, name: str) -> ClassFolder:
    """List the files of a class folder; ``split`` is empty where there are no folders of splits."""
    folder = ClassFolder(split, name, [], [], [])
    folder.files.extend(
        list_images(
            root,
            folder.path,
            broken_links=folder.broken_links,
            other_files=folder.other_files,
        )
    )
    return folder


def check_are_classes(root: Path, folders: Sequence[ClassFolder]) -> None:
    """Check that the folders can't be anything but classes.

    Raises:
        DataError: they are splits by other names, one folder around the class folders, or photos
            without tags.
    """
    _check_no_splits(root, folders)
    _check_no_outer_folder(root, folders)
    names = {f.name.casefold() for f in folders}
    only_splits = not any(f.split for f in folders) and names <= _SPLIT_FOLDERS
    if (
        only_splits
        or {n for n in names if name_kind(n) == "class"} <= _PHOTO_FOLDERS | _LABEL_FOLDERS
    ):
        shown = next((f for f in folders if f.name.casefold() in _PHOTO_FOLDERS), folders[0])
        raise DataError(
            f"photos in {shown.path}/ but no tags", where=root, fix=PHOTOS_WITHOUT_TAGS_FIX
        )


def _check_no_splits(root: Path, folders: Sequence[ClassFolder]) -> None:
    """Check that no class folder is the folder of a split under another name."""
    splits = [
        f
        for f in folders
        if not f.split and f.name.casefold() in _SPLIT_FOLDERS and f.inner_folders
    ]
    if not splits:
        return
    train, val = (
        next((f.name for f in splits if f.name.casefold().startswith(side)), None)
        for side in ("train", "val")
    )
    first = splits[0]
    settings = [
        f"prepare.{key} to {name!r}"
        for key, name in (("train_split", train), ("val_split", val))
        if name
    ]
    raise DataError(
        f"{first.name}/ is named as a split and contains folders "
        f"({first_few(first.inner_folders)}) but no photo of its own: it would be a class",
        where=root,
        fix=f"Set {' and '.join(settings)}."
        if train
        else "Put the class folders for training into train/ beside it, or move it elsewhere.",
    )


def _check_no_outer_folder(root: Path, folders: Sequence[ClassFolder]) -> None:
    """Check that the only class isn't a folder around the class folders."""
    with_photos = [f for f in folders if f.files]
    if len({f.name for f in folders}) != 1 or not with_photos:
        return
    if not all(f.inner_folders for f in with_photos):
        return
    outer = with_photos[0]
    way_out = (
        f"Move its folders into {outer.split}/" if outer.split else f"Give {root / outer.name}"
    )
    raise DataError(
        f"the only class folder, {outer.path}/, contains folders "
        f"({first_few(outer.inner_folders)}) but no photo of its own",
        where=root,
        fix=f"{way_out} if they are the classes; else move the photos out of them.",
    )


def doubtful_classes(folders: Sequence[ClassFolder]) -> list[DataProblem]:
    """Return warnings of class folders that may be something else."""
    other_names = [f.path for f in folders if f.name.casefold() in _PHOTO_FOLDERS | _LABEL_FOLDERS]
    nested = [
        f"{f.path}/ ({first_few(f.inner_folders, 3)})"
        for f in folders
        if f.inner_folders and name_kind(f.name) == "class"
    ]
    problems = []
    if other_names:
        problems.append(
            DataProblem(
                f"folders that count as classes, against their names: {first_few(other_names)}; "
                "move them elsewhere if they are none",
                warning=True,
            )
        )
    if nested:
        problems.append(
            DataProblem(
                f"class folders that contain folders but no photo of their own: "
                f"{first_few(nested)}; if the folders inside are the classes, move them up",
                warning=True,
            )
        )
    return problems
