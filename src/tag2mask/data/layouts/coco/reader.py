"""Layout ``coco``: COCO's JSON; a photo's tags are the categories of its annotations.

Recognized by JSON files of one of these forms::

    DIR/annotations/instances_train2017.json, instances_val2017.json   (or without the year)
    DIR/train2017/, val2017/  (or images/, images/train2017/, train/, or DIR itself)

    DIR/train/_annotations.coco.json    next to its photos
    DIR/valid/_annotations.coco.json

    DIR/instances.json or coco.json, or any *.json in DIR or DIR/annotations with COCO's lists
    DIR/images/

The photos of a single JSON are all for training unless lists of ids give their splits. A photo's id
is its path below DIR (below ``images/``, where there is one) without suffix. Classes are numbered
in the order of their category ids, without categories that are not classes: ``_background_`` and
similar names, and the supercategory that some tools list as category 0.

Crowd annotations count as tags; see `masks` for how they are drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from tag2mask.classes import BACKGROUND, IGNORE, mask_id, name_kind
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.addresses import is_upload
from tag2mask.data.layouts.coco.files import (
    candidate_files,
    files_of_split,
    find_coco_files,
    name_of_split,
    named_files,
)
from tag2mask.data.layouts.coco.masks import CocoMaskDrawer
from tag2mask.data.layouts.ids import normalize_path, without_suffix
from tag2mask.data.layouts.listing import list_images
from tag2mask.data.layouts.photo_lookup import PhotoLookup, ambiguous_photo
from tag2mask.data.layouts.splits import SplitRule
from tag2mask.data.layouts.tables.find_tables import TAG_TABLE
from tag2mask.errors import counted, first_few
from tag2mask.formats.coco.instances import (
    CocoFile,
    CocoId,
    CocoOutlines,
    read_coco_file,
    sort_ids,
)


def is_coco(folder: Path) -> bool:
    """Return whether a folder has COCO JSON.

    Next to a ``tags.csv``, only a file with COCO's own name counts.
    """
    return bool(named_files(folder)) or (
        not (folder / TAG_TABLE).is_file() and bool(candidate_files(folder))
    )


def read_coco(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with COCO annotations (see the module's docstring).

    Raises:
        DataError: no JSON, more than one without a split's name, or damaged.
    """
    root = folder.resolve()
    rule = SplitRule(root, options)
    chosen = find_coco_files(root, options)
    files = [
        read_coco_file(path, split, may_be_empty=bool(split) and split == options.val_split)
        for path, split in chosen
    ]
    problems = _unused_files(root, [path for path, _ in chosen])
    categories: dict[CocoId, str] = {}
    for file in files:
        problems += _merge_categories(file, categories)
        problems += map(DataProblem, file.problems)
        if not file.images and not file.problems:
            message = f"{file.path.name} has no images, so there are no photos of split "
            problems.append(DataProblem(f"{message}{file.split!r}", warning=True))
    classes = _class_ids(files, categories)
    values = _mask_values(classes, categories)
    masks, background = CocoMaskDrawer(values), _background_stamp(values)
    photos = PhotoLookup(root, list_images(root))
    entries: list[InventoryEntry] = []
    ids: set[str] = set()
    for file in files:
        for entry, key in _entries(file, root, photos, rule, categories, ids, problems):
            if entry.mask_stamp:
                entry = entry._replace(mask_stamp=entry.mask_stamp + background)
                outlines = file.outlines.get(key, CocoOutlines())
                masks.add(entry.id, file.path, file.images[key].size, outlines)
            entries.append(entry)
        problems += _without_mask(file)
    problems += rule.problems(ids)
    return Inventory(
        "coco",
        root,
        tuple(categories[key] for key in classes),
        tuple(entries),
        tuple(problems),
        tuple(sorted({file.split or "train" for file in files})),
        mask_drawer=masks,
        tag_source=", ".join(file.path.name for file in files),
        remarks=photos.remarks,
    )


def _unused_files(root: Path, used: Collection[Path]) -> list[DataProblem]:
    """Return a warning where JSON files are not read, unless they are of the split ``test``."""
    files = candidate_files(root)
    other = {*used, *files_of_split(files, root, "test")}
    unused = [path.relative_to(root).as_posix() for path in files if path not in other]
    if not unused:
        return []
    return [
        DataProblem(
            f"JSON files that are not used: {first_few(unused)}; set "
            "prepare.val_split or prepare.train_split to their split",
            warning=True,
        )
    ]


def _merge_categories(file: CocoFile, categories: dict[CocoId, str]) -> list[DataProblem]:
    """Add a file's categories; return the problems of ids that have another name elsewhere."""
    return [
        DataProblem(
            f"{file.path.name}: category {key} is {name!r}, elsewhere "
            f"{categories[key]!r}; give it one name in all files"
        )
        for key, name in file.categories.items()
        if categories.setdefault(key, name) != name
    ]


def _class_ids(files: Sequence[CocoFile], categories: dict[CocoId, str]) -> list[CocoId]:
    """Return the ids of the categories that are classes, sorted.

    A category without any annotation is none if its name says so, or if it is the root of the
    others: Roboflow lists their supercategory as category 0.
    """
    used = {c for file in files for tags in file.tags.values() for c in tags}
    parents = {p for file in files for key, p in file.supercategories.items() if key in used}
    roots = {k for file in files for k, p in file.supercategories.items() if (k, p) == (0, "none")}
    return [
        key
        for key, name in ((key, categories[key]) for key in sort_ids(categories))
        if name_kind(name) in ("class", "nothing")
        and (key in used or not (name_kind(name) == "nothing" or name in parents or key in roots))
    ]


def _mask_values(classes: Sequence[CocoId], categories: dict[CocoId, str]) -> dict[CocoId, int]:
    """Return the value in masks of each category id: objects of no class are not lost."""
    values = {
        key: BACKGROUND if name_kind(name) == "background" else IGNORE
        for key, name in categories.items()
    }
    return values | {key: mask_id(tag) for tag, key in enumerate(classes)}


def _background_stamp(values: dict[CocoId, int]) -> str:
    """Return a text that changes with the categories that are background.

    The names of the classes don't show whether another category is background or ignored.
    """
    return "".join(f"-{key}" for key, value in values.items() if value == BACKGROUND)


def _entries(
    file: CocoFile,
    root: Path,
    photos: PhotoLookup,
    rule: SplitRule,
    categories: dict[CocoId, str],
    ids: set[str],
    problems: list[DataProblem],
) -> Iterator[tuple[InventoryEntry, CocoId]]:
    """Yield the entries of one JSON file, each with its image id."""
    prefixes = _photo_folders(file, root)
    for key, image in file.images.items():
        where = f"{file.path.name} image {key}"
        written, problem = normalize_path(image.file_name)
        if problem or (is_upload(written) and not photos.find(written, prefixes, is_path=True)):
            addressed = photos.by_address(image.file_name)
            written, problem = (written, problem) if addressed is None else (addressed, None)
        if problem:
            hint = photos.similar(written)
            problems.append(
                DataProblem(
                    f"{where}: file_name {image.file_name!r} {problem}{'; ' if hint else ''}{hint}"
                )
            )
            continue
        matches = photos.find(written, prefixes, is_path=True)
        found = matches[0] if matches else None
        path = found.path if found else written
        id = without_suffix(path).removeprefix("images/")
        ids.add(id)
        split = rule.split_of(id, file.split)
        if split is None:
            continue
        if found is None:
            problems.append(photos.missing(id, written, prefixes, where))
        elif len(matches) > 1:
            problems.append(ambiguous_photo(id, matches, where, "correct file_name"))
        outlines = file.outlines.get(key, CocoOutlines())
        has_mask = file.has_outlines and not outlines.missing and not outlines.damage
        yield (
            InventoryEntry(
                id=id,
                split=split,
                where=where,
                tags=tuple(categories[c] for c in sort_ids(file.tags.get(key, ()))),
                image=found.path if found else None,
                stamp=found.stamp if found else "",
                mask_stamp=outlines.stamp if has_mask else "",
            ),
            key,
        )


def _without_mask(file: CocoFile) -> list[DataProblem]:
    """Return warnings where photos have no mask, since it would lack an object."""
    if not file.has_outlines:
        return []
    names = {key: file.images[key].file_name for key in file.outlines if key in file.images}
    missing = [name for key, name in names.items() if file.outlines[key].missing]
    damaged = [
        f"{name} ({file.outlines[key].damage})"
        for key, name in names.items()
        if file.outlines[key].damage
    ]
    problems = []
    if missing:
        count = counted(len(missing), "photo has", "photos have")
        problems.append(
            f"{file.path.name}: {count} no mask, since an object has no outline: "
            f"{first_few(missing)}; draw it if the mask is needed"
        )
    if damaged:
        count = counted(len(damaged), "photo has", "photos have")
        problems.append(
            f"{file.path.name}: {count} no mask, since an outline can't be drawn: "
            f"{first_few(damaged, 3)}; fix it if the mask is needed"
        )
    return [DataProblem(message, warning=True) for message in problems]


def _photo_folders(file: CocoFile, root: Path) -> list[str]:
    """Return the folders (relative, ending in "/" or empty) that may have a JSON's photos."""
    own = file.path.parent.relative_to(root).as_posix()
    folders = [] if own in (".", "annotations") else [own]
    for name in dict.fromkeys((name_of_split(file.path), file.split)):
        folders += [name, f"images/{name}"] if name else []
    return [f"{folder}/" for folder in folders] + ["images/", "JPEGImages/", "data/", ""]
