"""Checks that class folders really are classes.

A class folder may contain folders, but some trees are another layout and therefore errors: folders
named like photos, masks or splits; splits that contain only folders of photos; one folder around
the class folders.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tag2mask.classes import name_kind
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.class_folders.mask_images import check_no_masks
from tag2mask.data.layouts.class_folders.scan import ClassFolder
from tag2mask.data.layouts.folder_names import folder_kind, mentioned_kind
from tag2mask.data.layouts.splits import usual_split
from tag2mask.errors import DataError, first_few

PHOTOS_WITHOUT_TAGS_FIX = (
    "Put the photos into one folder per class, or add a tags.csv whose first line is `image,tags`."
)
_CLASS_LIST_FIX = "If the folders are classes, list their names in classes.txt."


def check_are_classes(root: Path, folders: Sequence[ClassFolder], listed: Collection[str]) -> None:
    """Check that the folders can't be anything but classes.

    Args:
        root: the data folder.
        folders: its class folders.
        listed: names that ``classes.txt`` lists: they are classes.

    Raises:
        DataError: they are splits by other names, one folder around the class folders, photos
            without tags, or contain masks.
    """
    _check_no_splits(root, folders)
    _check_no_outer_folder(root, folders)
    named = [f for f in folders if name_kind(f.name) == "class"]
    if not any(f.name in listed for f in named):
        _check_some_class(root, named, background=len(named) < len(folders))
    check_no_masks(root, [f for f in folders if f.name not in listed])


def _check_some_class(root: Path, folders: Sequence[ClassFolder], *, background: bool) -> None:
    """Check that not all folders are photos, masks or splits by their names.

    ``train/`` next to a folder of the background, and ``with_mask/`` next to ``without_mask/``, may
    be classes.
    """
    kinds = {f.name: mentioned_kind(f.name) for f in folders}
    found = set(kinds.values())
    if "class" in found or (found == {"split"} and (background or any(f.split for f in folders))):
        return
    certain = {folder_kind(f.name) for f in folders} - {"class"}
    if found == {"masks"} and any(folder_kind(f.name) == "class" for f in folders):
        return
    alone = len(folders) == 1 and not background
    if not certain and found != {"photos", "masks"} and not alone:
        return
    photos = [f for f in folders if kinds[f.name] != "masks"] or list(folders)
    masks = sorted({f.path for f in folders if kinds[f.name] == "masks"} - {photos[0].path})
    masks_too = f"; {first_few(f'{path}/' for path in masks)} can't be a class next to it"
    raise DataError(
        f"photos in {photos[0].path}/ but no tags{masks_too if masks else ''}",
        where=root,
        fix=f"{PHOTOS_WITHOUT_TAGS_FIX} {_CLASS_LIST_FIX}",
    )


def _check_no_splits(root: Path, folders: Sequence[ClassFolder]) -> None:
    """Check that no class folder is the folder of a split under another name."""
    splits = [f for f in folders if not f.split and usual_split(f.name) and f.inner_folders]
    if not splits:
        return
    train, val = (
        next((f.name for f in splits if usual_split(f.name) == side), None)
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
        else "Put the class folders for training into train/ next to it, or move it elsewhere.",
    )


def _check_no_outer_folder(root: Path, folders: Sequence[ClassFolder]) -> None:
    """Check that the only class isn't a folder around the class folders."""
    with_photos = [f for f in folders if f.files]
    if len({f.name for f in folders}) != 1 or not with_photos:
        return
    if not all(f.inner_folders for f in with_photos):
        return
    outer = with_photos[0]
    advice = f"Move its folders into {outer.split}/" if outer.split else f"Give {root / outer.name}"
    raise DataError(
        f"the only class folder, {outer.path}/, contains folders "
        f"({first_few(outer.inner_folders)}) but no photo of its own",
        where=root,
        fix=f"{advice} if they are the classes; else move the photos out of them.",
    )


def doubtful_classes(folders: Sequence[ClassFolder], listed: Collection[str]) -> list[DataProblem]:
    """Return warnings of class folders that may be something else; not of ``listed`` names."""
    unlisted = [f for f in folders if f.name not in listed]
    splits = {f.name for f in unlisted if folder_kind(f.name) == "split"}
    if all(usual_split(name) == "train" for name in splits):
        splits = set()  # a vehicle
    other_names = [
        f.path for f in unlisted if folder_kind(f.name) in ("photos", "masks") or f.name in splits
    ]
    mentioned = [f.path for f in unlisted if mentioned_kind(f.name) == "masks"]
    if {f.path for f in unlisted if name_kind(f.name) == "class"} <= set(mentioned):
        other_names = mentioned
    inner_masks = sorted(
        {
            f"{f.path}/{name}"
            for f in folders
            for name in {path.partition("/")[0] for path in f.inner_paths if "/" in path}
            if folder_kind(name) == "masks"
        }
    )
    nested = [
        f"{f.path}/ ({first_few(f.inner_folders, 3)})"
        for f in folders
        if f.inner_folders and name_kind(f.name) == "class"
    ]
    problems = []
    if other_names:
        problems.append(
            f"folders that count as classes, despite their names: {first_few(other_names)}; "
            "move them elsewhere if they are not classes, else list the classes in classes.txt"
        )
    if inner_masks:
        problems.append(
            f"folders inside of class folders have the names of masks: {first_few(inner_masks)}; "
            "their images count as photos of the class: move them out if they are masks"
        )
    if nested:
        problems.append(
            f"class folders that contain folders but no photo of their own: "
            f"{first_few(nested)}; if the folders inside are the classes, move them up"
        )
    return [DataProblem(message, warning=True) for message in problems]
