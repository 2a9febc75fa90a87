"""Layout ``folders``: one folder per class, as torchvision's ImageFolder reads them.

Recognized by any subfolder except ``masks/``, where no other layout matches::

    DIR/<class>/...photos...           or   DIR/train/<class>/...  DIR/val/<class>/...
    DIR/background/...photos...        photos without any of the classes (or ``_none/``)
    DIR/masks/<id>.png                 optional
    DIR/classes.txt                    optional: names and their order

A photo's id is its path inside the class folder, without suffix; below ``train/`` and ``val/`` the
split's folder comes first. The same name in several class folders is one photo with several tags.
Its files must then be equal byte for byte (links are fine): two different photos that are both
called ``001.jpg`` would otherwise become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tag2mask.classes import name_kind
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.class_folders.checks import check_are_classes, doubtful_classes
from tag2mask.data.layouts.class_folders.problems import (
    equal_names,
    no_class_folder,
    skipped_folder_remarks,
    unused_problems,
)
from tag2mask.data.layouts.class_folders.scan import ClassFolder, scan_class_folder
from tag2mask.data.layouts.ids import normalize_path, without_suffix
from tag2mask.data.layouts.listing import (
    CLASS_LIST,
    MASK_FOLDER,
    FoundFile,
    inventory_entry,
    list_images,
    read_class_list,
    subfolders,
    unmatched_masks,
)
from tag2mask.data.layouts.names import background_remarks
from tag2mask.data.layouts.splits import SplitRule, is_usual_name
from tag2mask.errors import DataError


@dataclass
class _TaggedPhoto:
    """A photo found in one or more class folders."""

    split: str
    files: list[FoundFile] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def is_folders(folder: Path) -> bool:
    """Return whether a folder has sub-folders that may be classes."""
    return any(name != MASK_FOLDER for name in subfolders(folder))


def read_folders(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with one folder per class (see the module's docstring).

    Raises:
        DataError: no class folder, photos without any tag, or folders that are not classes.
    """
    root = folder.resolve()
    rule = SplitRule(root, options)
    classes = read_class_list(root)
    all_folders = [
        scan_class_folder(root, split, name) for split, name in _find_class_folders(root, options)
    ]
    folders = [f for f in all_folders if f.files or f.broken_links or f.name in (classes or ())]
    if all(name_kind(f.name) != "class" for f in folders):
        raise no_class_folder(root, all_folders)
    check_are_classes(root, folders, classes or ())
    problems = doubtful_classes(folders, classes or ())
    problems += unused_problems(root, all_folders, folders)
    photos: dict[str, _TaggedPhoto] = {}
    for class_folder in folders:
        problems += _add_class(class_folder, photos)
    splits = {f.split for f in all_folders}
    entries = _entries(root, rule, photos, problems)
    found = {f.name for f in folders if name_kind(f.name) != "background"}
    problems += rule.problems(photos)
    return Inventory(
        "folders",
        root,
        classes or tuple(sorted(found)),
        tuple(entries),
        tuple(problems),
        tuple(sorted(split or "train" for split in splits)),
        tag_source="class folders",
        class_list="" if classes is None else CLASS_LIST,
        names_from_tags=classes is None,
        remarks=(
            *skipped_folder_remarks(root, all_folders),
            *background_remarks({f.name for f in folders}),
        ),
    )


def _find_class_folders(root: Path, options: SourceOptions) -> list[tuple[str, str]]:
    """Return (split, class) of every class folder; split "" where there are no folders of splits.

    Raises:
        DataError: no such data folder, or a class folder that is probably the folder of masks.
    """
    if not root.is_dir():
        raise DataError("no such folder", where=root, fix="Correct the path.")
    top = [name for name in subfolders(root) if name != MASK_FOLDER]
    for name in top:
        if name.casefold() == MASK_FOLDER:
            raise DataError(
                f"the folder {name}/ would be a class",
                where=root,
                fix=f"Rename it to {MASK_FOLDER} if it has masks, else give the "
                "class another name.",
            )
    splits = [
        name
        for name in (options.train_split, options.val_split, "train", "val", "test")
        if name in top and subfolders(root / name)
    ]
    if options.train_split in splits or "train" in splits:
        if options.val_split and options.val_split not in splits:
            splits += _usual_folder(root, top, options.val_split)
        return [
            (split, name) for split in dict.fromkeys(splits) for name in subfolders(root / split)
        ]
    return [("", name) for name in top]


def _usual_folder(root: Path, names: Sequence[str], split: str) -> list[str]:
    """Return the folder with a usual name of a split, such as ``valid``; of several, none."""
    found = [name for name in names if is_usual_name(name, split) and subfolders(root / name)]
    return found if len(found) == 1 else []


def _add_class(folder: ClassFolder, photos: dict[str, _TaggedPhoto]) -> list[DataProblem]:
    """Add the photos of a class folder to ``photos``; return its problems."""
    problems: list[DataProblem] = []
    seen: dict[str, str] = {}
    for file in folder.files:
        inner = without_suffix(file.path[len(folder.path) + 1 :])
        plain, problem = normalize_path(inner)
        if problem or plain != inner:
            problems.append(
                DataProblem(
                    f"photo {file.path!r}: its name {problem or 'has a backslash'}; rename it"
                )
            )
            continue
        id = f"{folder.split}/{inner}" if folder.split else inner
        if id in seen:
            problems.append(
                DataProblem(
                    f"photos {seen[id]!r} and {file.path!r} have the same id {id!r}; rename one"
                )
            )
            continue
        seen[id] = file.path
        photo = photos.setdefault(id, _TaggedPhoto(folder.split))
        photo.files.append(file)
        if name_kind(folder.name) != "background":
            photo.tags.append(folder.name)
    return problems + [
        DataProblem(
            f"photo {path!r} is a link to nothing; fix or remove the link",
            photo=without_suffix(path),
        )
        for path in folder.broken_links
    ]


def _entries(
    root: Path, rule: SplitRule, photos: dict[str, _TaggedPhoto], problems: list[DataProblem]
) -> list[InventoryEntry]:
    """Return the entries of the requested splits; append the problems of photos and masks."""
    masks = {without_suffix(file.path): file for file in list_images(root, MASK_FOLDER)}
    matched: set[str] = set()
    entries: list[InventoryEntry] = []
    different: list[tuple[str, str]] = []
    for id, photo in sorted(photos.items()):
        different += _different_files(root, photo.files)
        split = rule.split_of(id, photo.split)
        mask = _find_mask(id, photo, masks)
        if mask is not None:
            matched.add(mask.path)
        if split is not None:
            first = photo.files[0]
            entries.append(inventory_entry(id, split, tuple(photo.tags), first, mask, first.path))
    problems += equal_names(different)
    problems += unmatched_masks([file.path for file in masks.values()], matched, photos)
    return entries


def _different_files(root: Path, files: Sequence[FoundFile]) -> list[tuple[str, str]]:
    """Return the first two files of one id that aren't equal byte for byte."""
    first = root / files[0].path
    for other in files[1:]:
        path = root / other.path
        if files[0].stamp.split("-")[0] != other.stamp.split("-")[0] or not _equal(first, path):
            return [(files[0].path, other.path)]
    return []


def _equal(one: Path, other: Path) -> bool:
    """Return whether two files of the same length have the same bytes."""
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


def _find_mask(id: str, photo: _TaggedPhoto, masks: dict[str, FoundFile]) -> FoundFile | None:
    """Return the mask with the photo's id, or with its path below the class folders."""
    inner = id.removeprefix(f"{photo.split}/") if photo.split else id
    mirrored = (without_suffix(file.path) for file in photo.files)
    for path in (id, inner, *mirrored):
        found = masks.get(f"{MASK_FOLDER}/{path}")
        if found is not None:
            return found
    return None
