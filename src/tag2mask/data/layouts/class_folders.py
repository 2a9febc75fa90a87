"""One folder a class, as torchvision's ImageFolder reads them.

::

    DIR/<class>/...photos...           or   DIR/train/<class>/...  DIR/val/<class>/...
    DIR/background/...photos...        photos that hold none of the classes (or ``_none/``)
    DIR/masks/<id>.png                 optional
    DIR/classes.txt                    optional: names and their order

A photo's id is its path inside the class folder, without suffix; below ``train/`` and ``val/`` the
split's folder comes first. The same name in several class folders is one photo with several tags.
Its files must then be equal byte for byte (links will do): two different photos that are both
called ``001.jpg`` would otherwise become one.

A class folder may hold folders, but not what looks like another layout: folders named as splits
that hold folders of photos alone, or one folder around the class folders, are errors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.images import IMAGE_SUFFIXES
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.csv_table import MASK_FOLDER, spare_masks
from tag2mask.data.layouts.listing import (
    FoundFile,
    is_file,
    list_files,
    read_class_list,
    subfolders,
    without_suffix,
    written_path,
)
from tag2mask.data.layouts.splits import SplitRule
from tag2mask.errors import DataError, first_few

UNTAGGED = ("background", "_background_", "__background__", "_none")
_PHOTO_FOLDERS = frozenset({"images", "photos", "jpegimages", "img"})
_LABEL_FOLDERS = frozenset({"labels", "annotations", MASK_FOLDER})
_SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "test"})
"""Names that other layouts use, in lower case; people write them in any."""
_NO_TAGS = (
    "Put the photos into one folder a class, or add a tags.csv whose first line is `image,tags`."
)


@dataclass
class _Photo:
    """A photo met in one or more class folders."""

    split: str
    files: list[FoundFile] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


class _ClassFolder(NamedTuple):
    """What lies in one class folder."""

    split: str
    """Empty where there is none."""
    name: str
    files: list[FoundFile]
    dangling: list[str]
    others: list[str]

    @property
    def base(self) -> str:
        """Its path below the data folder."""
        return f"{self.split}/{self.name}" if self.split else self.name

    @property
    def inner_folders(self) -> list[str]:
        """The folders in it that hold all its photos; none where a photo lies beside them."""
        inner = [file.path[len(self.base) + 1 :] for file in self.files]
        if not all("/" in path for path in inner):
            return []
        return sorted({path.partition("/")[0] for path in inner})


def is_folders(folder: Path) -> bool:
    """Whether a folder has sub-folders that may be classes."""
    return any(name != MASK_FOLDER for name in subfolders(folder))


def read_folders(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with one folder a class (see the head of the module).

    Raises:
        DataError: no class folder, photos without any tag, or folders that are no classes.
    """
    root = folder.resolve()
    rule = SplitRule(root, options)
    problems: list[DataProblem] = []
    names, loose = _class_folders(root, options)
    class_folders = [_listed(root, split, name) for split, name in names]
    _refuse_misread(root, class_folders)
    problems += _doubtful_classes(class_folders)
    if loose:
        problems.append(
            DataProblem(
                f"{len(loose)} photos lie in no class folder and take no part: {first_few(loose)}",
                warning=True,
            )
        )
    photos: dict[str, _Photo] = {}
    found_names: set[str] = set()
    others: list[str] = []
    for class_folder in class_folders:
        if class_folder.name not in UNTAGGED:
            found_names.add(class_folder.name)
        others += class_folder.others
        _add_class(class_folder, photos, problems)
    if others:
        problems.append(
            DataProblem(
                f"{len(others)} files in class folders are no photos by their "
                f"names and take no part: {first_few(others)}; photos are files named "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}",
                warning=True,
            )
        )
    splits = {split for split, _ in names}  # of "" alone where there are none
    beside = [name for name in subfolders(root) if name not in {MASK_FOLDER, "test", *splits}]
    if beside and splits != {""}:
        problems.append(
            DataProblem(
                f"folders beside those of the splits take no part: {first_few(beside)}; set "
                "prepare.val_split or prepare.train_split to one of them if it is a split",
                warning=True,
            )
        )
    masks = {without_suffix(file.path): file for file in list_files(root, MASK_FOLDER)}
    fitting: set[str] = set()
    entries: list[InventoryEntry] = []
    for id, photo in sorted(photos.items()):
        problem = _different_files(root, id, photo.files)
        if problem:
            problems.append(problem)
        wanted = rule.split_of(id, photo.split)
        mask = _mask_of(id, photo, masks)
        fitting.add(mask.path if mask else "")
        if wanted is None:
            continue
        entries.append(
            InventoryEntry(
                id=id,
                split=wanted,
                tags=tuple(photo.tags),
                where=photo.files[0].path,
                image=photo.files[0].path,
                stamp=photo.files[0].stamp,
                mask=mask.path if mask else None,
                mask_stamp=mask.stamp if mask else "",
            )
        )
    problems += spare_masks([file.path for file in masks.values()], fitting)
    class_list = root / "classes.txt"
    has_list = class_list.is_file()
    problems += rule.problems(photos)
    return Inventory(
        "folders",
        root,
        read_class_list(class_list) if has_list else tuple(sorted(found_names)),
        tuple(entries),
        tuple(problems),
        tuple(sorted(split or "train" for split in splits)),
        reads="class folders",
        class_list=class_list.name if has_list else "",
        names_from_tags=not has_list,
    )


def _class_folders(root: Path, options: SourceOptions) -> tuple[list[tuple[str, str]], list[str]]:
    """(split, class) of every class folder, split "" where there is none; and loose photos."""
    if not root.is_dir():
        raise DataError("no such folder", where=root, fix="Correct the path.")
    top = [name for name in subfolders(root) if name != MASK_FOLDER]
    for name in top:
        if name.casefold() == MASK_FOLDER:
            raise DataError(
                f"the folder {name}/ would be a class",
                where=root,
                fix=f"Rename it to {MASK_FOLDER} if it holds masks, else give the "
                "class another name.",
            )
    splits = [
        name
        for name in (options.train_split, options.val_split, "train", "val", "test")
        if name in top and subfolders(root / name)
    ]
    if options.train_split in splits or "train" in splits:
        names = [
            (split, name) for split in dict.fromkeys(splits) for name in subfolders(root / split)
        ]
    else:
        names = [("", name) for name in top]
    classes = [name for _, name in names if name not in UNTAGGED]
    loose = sorted(
        entry.name
        for entry in os.scandir(root)
        if is_file(entry) and without_suffix(entry.name) != entry.name
    )
    if not classes:
        raise DataError("no class folder", where=root, fix=_NO_TAGS)
    return names, loose


def _listed(root: Path, split: str, name: str) -> _ClassFolder:
    dangling: list[str] = []
    others: list[str] = []
    files = list_files(root, f"{split}/{name}" if split else name, dangling=dangling, others=others)
    return _ClassFolder(split, name, files, dangling, others)


def _refuse_misread(root: Path, folders: Sequence[_ClassFolder]) -> None:
    """Refuse what is another layout beyond doubt.

    Raises:
        DataError: splits by other names, one folder around the class folders, or photos whose
            folders are no classes.
    """
    splits = [
        f
        for f in folders
        if not f.split and f.name.casefold() in _SPLIT_FOLDERS and f.inner_folders
    ]
    if splits:
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
            f"{first.name}/ is named as a split and holds folders "
            f"({first_few(first.inner_folders)}) but no photo of its own: it would be a class",
            where=root,
            fix=f"Set {' and '.join(settings)}."
            if train
            else "Put the class folders for training into train/ beside it, or move it elsewhere.",
        )
    names = {f.name for f in folders}
    if len(names) == 1 and all(f.inner_folders for f in folders if f.files):
        around = next((f for f in folders if f.files), None)
        if around is not None:
            way_out = (
                f"Move its folders into {around.split}/"
                if around.split
                else f"Give {root / around.name}"
            )
            raise DataError(
                f"the only class folder, {around.base}/, holds folders "
                f"({first_few(around.inner_folders)}) but no photo of its own",
                where=root,
                fix=f"{way_out} if they are the classes; else move the photos out of them.",
            )
    folded = {f.name.casefold() for f in folders}
    of_splits = not any(f.split for f in folders) and folded <= _SPLIT_FOLDERS
    if of_splits or folded - set(UNTAGGED) <= _PHOTO_FOLDERS | _LABEL_FOLDERS:
        shown = next((f for f in folders if f.name.casefold() in _PHOTO_FOLDERS), folders[0])
        raise DataError(f"photos in {shown.base}/ but no tags", where=root, fix=_NO_TAGS)


def _doubtful_classes(folders: Sequence[_ClassFolder]) -> list[DataProblem]:
    """Warnings of class folders that may be something else."""
    odd = [f.base for f in folders if f.name.casefold() in _PHOTO_FOLDERS | _LABEL_FOLDERS]
    deep = [
        f"{f.base}/ ({first_few(f.inner_folders, 3)})"
        for f in folders
        if f.inner_folders and f.name not in UNTAGGED
    ]
    problems = []
    if odd:
        problems.append(
            DataProblem(
                f"folders that count as classes, against their names: {first_few(odd)}; "
                "move them elsewhere if they are none",
                warning=True,
            )
        )
    if deep:
        problems.append(
            DataProblem(
                f"class folders that hold folders but no photo of their own: "
                f"{first_few(deep)}; if the folders inside are the classes, move them "
                "up",
                warning=True,
            )
        )
    return problems


def _add_class(
    folder: _ClassFolder, photos: dict[str, _Photo], problems: list[DataProblem]
) -> None:
    """Take in the photos of a class folder."""
    split, name, base = folder.split, folder.name, folder.base
    seen: dict[str, str] = {}
    for file in folder.files:
        inner = without_suffix(file.path[len(base) + 1 :])
        plain, problem = written_path(inner)
        if problem or plain != inner:
            problems.append(
                DataProblem(
                    f"photo {file.path!r}: its name {problem or 'holds a backslash'}; rename it"
                )
            )
            continue
        id = f"{split}/{inner}" if split else inner
        if id in seen:
            problems.append(
                DataProblem(
                    f"photos {seen[id]!r} and {file.path!r} have the same id {id!r}; rename one"
                )
            )
            continue
        seen[id] = file.path
        photo = photos.setdefault(id, _Photo(split))
        photo.files.append(file)
        if name not in UNTAGGED:
            photo.tags.append(name)
    problems += [
        DataProblem(
            f"photo {path!r} is a link to nothing; mend or remove the link",
            photo=without_suffix(path),
        )
        for path in folder.dangling
    ]


def _different_files(root: Path, id: str, files: list[FoundFile]) -> DataProblem | None:
    """A problem where files of one id aren't equal byte for byte."""
    first = root / files[0].path
    for other in files[1:]:
        path = root / other.path
        if files[0].stamp.split("-")[0] != other.stamp.split("-")[0] or not _equal(first, path):
            return DataProblem(
                f"{files[0].path!r} and {other.path!r} have the same name but differ; "
                "rename one, or copy one over the other if they are the same photo"
            )
    return None


def _equal(one: Path, other: Path) -> bool:
    """Whether two files of the same length hold the same bytes."""
    try:
        if one.samefile(other):
            return True
        with one.open("rb") as a, other.open("rb") as b:
            while block := a.read(1 << 20):
                if block != b.read(1 << 20):
                    return False
    except OSError:
        return False
    return True


def _mask_of(id: str, photo: _Photo, masks: dict[str, FoundFile]) -> FoundFile | None:
    """A mask under the photo's id, or where its class folder is mirrored under ``masks/``."""
    inner = id.removeprefix(f"{photo.split}/") if photo.split else id
    mirrored = (without_suffix(file.path) for file in photo.files)
    for path in (id, inner, *mirrored):
        found = masks.get(f"{MASK_FOLDER}/{path}")
        if found is not None:
            return found
    return None
