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
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tag2mask.data.csv_table import MASK_FOLDER, spare_masks
from tag2mask.data.images import IMAGE_SUFFIXES
from tag2mask.data.listing import (
    FoundFile,
    list_files,
    read_class_list,
    subfolders,
    without_suffix,
    written_path,
)
from tag2mask.data.samples import Entry, Inventory, Problem, SourceOptions
from tag2mask.data.splits import SplitRule
from tag2mask.errors import DataError, some

UNTAGGED = ("background", "_background_", "__background__", "_none")
_PHOTO_FOLDERS = ("images", "photos", "JPEGImages", "img")


@dataclass
class _Photo:
    """A photo met in one or more class folders."""

    split: str
    files: list[FoundFile] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def is_folders(folder: Path) -> bool:
    """Whether a folder has sub-folders that may be classes."""
    return any(name != MASK_FOLDER for name in subfolders(folder))


def read_folders(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with one folder a class (see the head of the module).

    Raises:
        DataError: no class folder, or photos without any tag.
    """
    root = folder.resolve()
    rule = SplitRule(root, options)
    problems: list[Problem] = []
    class_folders, loose = _class_folders(root, options)
    if loose:
        problems.append(Problem(f"{len(loose)} photos lie in no class folder and take no part: "
                                f"{some(loose)}", warning=True))
    photos: dict[str, _Photo] = {}
    found_names: set[str] = set()
    others: list[str] = []
    for split, name in class_folders:
        if name not in UNTAGGED:
            found_names.add(name)
        others += _add_class(root, split, name, photos, problems)
    if others:
        problems.append(Problem(f"{len(others)} files in class folders are no photos by their "
                                f"names and take no part: {some(others)}; photos are files named "
                                f"{', '.join(sorted(IMAGE_SUFFIXES))}", warning=True))
    splits = {split for split, _ in class_folders}  # of "" alone where there are none
    beside = [name for name in subfolders(root) if name not in {MASK_FOLDER, "test", *splits}]
    if beside and splits != {""}:
        problems.append(Problem(
            f"folders beside those of the splits take no part: {some(beside)}; set "
            "prepare.val_split or prepare.train_split to one of them if it is a split",
            warning=True))
    masks = {without_suffix(file.path): file for file in list_files(root, MASK_FOLDER)}
    fitting: set[str] = set()
    entries: list[Entry] = []
    for id, photo in sorted(photos.items()):
        problem = _different_files(root, id, photo.files)
        if problem:
            problems.append(problem)
        wanted = rule.split_of(id, photo.split)
        mask = _mask_of(id, photo, masks)
        fitting.add(mask.path if mask else "")
        if wanted is None:
            continue
        entries.append(Entry(
            id=id, split=wanted, tags=tuple(photo.tags), where=photo.files[0].path,
            image=photo.files[0].path, stamp=photo.files[0].stamp,
            mask=mask.path if mask else None, mask_stamp=mask.stamp if mask else "",
        ))
    problems += spare_masks([file.path for file in masks.values()], fitting)
    class_list = root / "classes.txt"
    names = read_class_list(class_list) if class_list.is_file() else tuple(sorted(found_names))
    problems += rule.problems(photos)
    return Inventory("folders", root, names, tuple(entries), tuple(problems),
                     tuple(sorted(split or "train" for split in splits)),
                     reads="class folders", names_from_tags=not class_list.is_file())


def _class_folders(root: Path, options: SourceOptions) -> tuple[list[tuple[str, str]], list[str]]:
    """(split, class) of every class folder, split "" where there is none; and loose photos."""
    if not root.is_dir():
        raise DataError("no such folder", where=root, fix="Correct the path.")
    top = [name for name in subfolders(root) if name != MASK_FOLDER]
    splits = [name for name in (options.train_split, options.val_split, "train", "val", "test")
              if name in top and subfolders(root / name)]
    if options.train_split in splits or "train" in splits:
        names = [(split, name) for split in dict.fromkeys(splits)
                 for name in subfolders(root / split)]
    else:
        names = [("", name) for name in top]
    classes = [name for _, name in names if name not in UNTAGGED]
    loose = sorted(entry.name for entry in os.scandir(root)
                   if entry.is_file() and without_suffix(entry.name) != entry.name)
    if not classes or all(name in _PHOTO_FOLDERS for name in classes):
        what = f"photos in {classes[0]}/ but no tags" if classes else "no class folder"
        raise DataError(what, where=root,
                        fix="Put the photos into one folder a class, or add a tags.csv whose first "
                            "line is `image,tags`.")
    return names, loose


def _add_class(root: Path, split: str, name: str, photos: dict[str, _Photo],
               problems: list[Problem]) -> list[str]:
    """Take in the photos of a class folder; returns the files in it that are none."""
    base = f"{split}/{name}" if split else name
    seen: dict[str, str] = {}
    dangling: list[str] = []
    others: list[str] = []
    for file in list_files(root, base, dangling=dangling, others=others):
        inner = without_suffix(file.path[len(base) + 1:])
        plain, problem = written_path(inner)
        if problem or plain != inner:
            problems.append(Problem(f"photo {file.path!r}: its name "
                                    f"{problem or 'holds a backslash'}; rename it"))
            continue
        id = f"{split}/{inner}" if split else inner
        if id in seen:
            problems.append(Problem(f"photos {seen[id]!r} and {file.path!r} have the same id "
                                    f"{id!r}; rename one"))
            continue
        seen[id] = file.path
        photo = photos.setdefault(id, _Photo(split))
        photo.files.append(file)
        if name not in UNTAGGED:
            photo.tags.append(name)
    problems += [Problem(f"photo {path!r} is a link to nothing; mend or remove the link",
                         photo=without_suffix(path)) for path in dangling]
    return others


def _different_files(root: Path, id: str, files: list[FoundFile]) -> Problem | None:
    """A problem where files of one id aren't equal byte for byte."""
    first = root / files[0].path
    for other in files[1:]:
        path = root / other.path
        if files[0].stamp.split("-")[0] != other.stamp.split("-")[0] or not _equal(first, path):
            return Problem(f"{files[0].path!r} and {other.path!r} have the same name but differ; "
                           "rename one, or copy one over the other if they are the same photo")
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
