"""Problems of class folders: photos and folders that are not used, and equal names."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from tag2mask.classes import name_kind
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.class_folders.checks import PHOTOS_WITHOUT_TAGS_FIX
from tag2mask.data.layouts.class_folders.scan import ClassFolder
from tag2mask.data.layouts.folder_names import is_system_folder
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.listing import MASK_FOLDER, is_file, is_folder, subfolders
from tag2mask.errors import DataError, counted, first_few
from tag2mask.formats.photo_names import PHOTO_SUFFIXES

_SUFFIXES = f"photos are files named {', '.join(sorted(PHOTO_SUFFIXES))}"


def no_class_folder(root: Path, folders: Sequence[ClassFolder]) -> DataError:
    """Return the error of a data folder without a folder that may be a class."""
    named = [f.path for f in folders if name_kind(f.name) == "class"]
    if not named:
        return DataError("no class folder", where=root, fix=PHOTOS_WITHOUT_TAGS_FIX)
    return DataError(
        f"no photo in the folders ({first_few(named)}): they are not classes",
        where=root,
        fix=f"{PHOTOS_WITHOUT_TAGS_FIX} P{_SUFFIXES[1:]}.",
    )


def unused_problems(
    root: Path, folders: Sequence[ClassFolder], used: Sequence[ClassFolder]
) -> list[DataProblem]:
    """Return warnings of photos, files and folders that are not used.

    Args:
        root: the data folder.
        folders: all folders that may be classes.
        used: those that are.
    """
    names = {folder.name for folder in used}
    empty = [f.path for f in folders if f.name not in names and not f.skipped_folders]
    problems = _loose_photos(root)
    if empty:
        problems.append(
            DataProblem(
                f"folders without a photo are not classes: {first_few(empty)}; if they are, list "
                "the classes in classes.txt",
                warning=True,
            )
        )
    return problems + _other_files(used) + _other_folders(root, {f.split for f in folders})


def _loose_photos(root: Path) -> list[DataProblem]:
    """Return a warning where photos are next to the class folders."""
    loose = sorted(
        entry.name
        for entry in os.scandir(root)
        if is_file(entry) and without_suffix(entry.name) != entry.name
    )
    if not loose:
        return []
    count = counted(len(loose), "photo is", "photos are")
    message = f"{count} in no class folder and not used: {first_few(loose)}"
    return [DataProblem(message, warning=True)]


def _other_files(folders: Sequence[ClassFolder]) -> list[DataProblem]:
    """Return a warning where class folders have files that are not photos."""
    other = [path for folder in folders for path in folder.other_files]
    if not other:
        return []
    return [
        DataProblem(
            f"{counted(len(other), 'file', 'files')} in class folders not used, since the suffixes "
            "are not those of photos: "
            f"{first_few(other)}; {_SUFFIXES}",
            warning=True,
        )
    ]


def _other_folders(root: Path, splits: Collection[str]) -> list[DataProblem]:
    """Return a warning where folders are next to those of the splits; ``splits`` of "" has none."""
    other = [name for name in subfolders(root) if name not in {MASK_FOLDER, "test", *splits}]
    if not other or splits == {""}:
        return []
    return [
        DataProblem(
            f"folders next to those of the splits are not used: {first_few(other)}; set "
            "prepare.val_split or prepare.train_split to one of them if it is a split",
            warning=True,
        )
    ]


def skipped_folder_remarks(root: Path, folders: Sequence[ClassFolder]) -> tuple[str, ...]:
    """Return a remark on system folders and tag2mask's own, which are not classes."""
    found = {path for folder in folders for path in folder.skipped_folders}
    found |= {
        entry.name
        for entry in os.scandir(root)
        if is_system_folder(entry.name) and not entry.name.startswith(".") and is_folder(entry)
    }
    if not found:
        return ()
    names = first_few(sorted(found))
    return (f"system folders and those written by tag2mask are skipped: {names}",)


def equal_names(pairs: Sequence[tuple[str, str]]) -> list[DataProblem]:
    """Return the problem of different photos with one name; ``pairs`` has their paths."""
    if not pairs:
        return []
    first, second = pairs[0]
    count = "" if len(pairs) == 1 else f" ({len(pairs)} such names)"
    return [
        DataProblem(
            f"{first!r} and {second!r} have the same name but differ{count}: give each photo a "
            "name of its own, or list the photos in a tags.csv (first line `image,tags`) by paths "
            f"such as {first}"
        )
    ]
