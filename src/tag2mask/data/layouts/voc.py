"""PASCAL VOC and folders laid out like it.

::

    VOCdevkit/VOC2012/            (or the folder above, or a bare folder of the same form)
        ImageSets/Segmentation/train.txt, val.txt, ...    split lists
        JPEGImages/<id>.jpg
        Annotations/<id>.xml, or tags.csv, or cls_labels.npy
        SegmentationClass/<id>.png, SegmentationClassAug/<id>.png    masks, optional
        classes.txt               optional: class names, one a line, background first or left out

Any text file of ids may be the split list, psa's lists of two columns too; a mask named there wins.
Tags: ``tags.csv`` before ``cls_labels.npy`` before ``Annotations``, so that a file that a user adds
wins over what came with the data. Of the annotations every object counts, "difficult" ones too, as
in psa and SEAM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from tag2mask.classes import VOC_NAMES
from tag2mask.data.inventory import (
    SPLITS,
    DataProblem,
    Inventory,
    InventoryEntry,
    SourceOptions,
    Split,
)
from tag2mask.data.layouts.cls_labels import read_cls_labels
from tag2mask.data.layouts.csv_table import read_table
from tag2mask.data.layouts.listing import (
    FoundFile,
    by_id,
    list_files,
    missing_photo,
    read_class_list,
)
from tag2mask.data.layouts.splits import ListedPhoto, find_list, read_id_list
from tag2mask.errors import DataError, first_few, nearest_hint

_PHOTOS = "JPEGImages"
_MASKS = ("SegmentationClass", "SegmentationClassAug")
_LISTS = ("ImageSets/Segmentation", "ImageSets/Main", "ImageSets")
_NO_DOCTYPE = "a document type declaration, which annotations don't have"


class _Tags(NamedTuple):
    """Where tags come from: a look-up, the ids it names, and what messages call it."""

    of: Callable[[str], tuple[str, ...] | None]
    ids: tuple[str, ...]
    name: str
    complete: bool
    """Every id should have its photo (a user's table, not a published file)."""


def is_voc(folder: Path) -> bool:
    """Whether a folder is laid out like VOC."""
    return _voc_root(folder) is not None


def read_voc(folder: Path, options: SourceOptions) -> Inventory:
    """Read a folder laid out like VOC (see the head of the module).

    Raises:
        DataError: no such layout, a split list that doesn't exist, or no tags at all.
    """
    root = _voc_root(folder)
    if root is None:
        raise DataError(
            "not laid out like VOC: no JPEGImages with ImageSets beside it",
            where=folder,
            fix="Give the folder that holds VOC2012, or --source.",
        )
    class_list = root / "classes.txt"
    has_list = class_list.is_file()
    names = read_class_list(class_list) if has_list else VOC_NAMES
    problems: list[DataProblem] = []
    tags = _tag_source(root, options, names, problems)
    photos = by_id(list_files(root, _PHOTOS), f"{_PHOTOS}/")
    masks = _Masks(root)
    entries: list[InventoryEntry] = []
    listed_by_split = _listed(root, options, problems)
    for split, listed in listed_by_split.items():
        for photo in listed:
            id = photo.id.removeprefix(f"{_PHOTOS}/")
            found = photos.get(id, [])
            if not found:
                problems.append(missing_photo(id, root / _PHOTOS / f"{id}.jpg", photo.where))
            elif len(found) > 1:
                problems.append(
                    DataProblem(
                        f"{photo.where}: id {id!r} fits several photos "
                        f"({first_few(f.path for f in found)}); keep one"
                    )
                )
            own = _tags_of(id, tags, photo.where, problems) if found else ()
            mask = masks.of(id, photo)
            entries.append(
                InventoryEntry(
                    id=id,
                    split=split,
                    tags=own,
                    where=photo.where,
                    image=found[0].path if found else None,
                    stamp=found[0].stamp if found else "",
                    mask=mask.path if mask else None,
                    mask_stamp=mask.stamp if mask else "",
                )
            )
    problems += masks.problems()
    problems += _tags_without_photo(tags, photos, entries)
    return Inventory(
        "voc",
        root,
        names,
        tuple(entries),
        tuple(problems),
        tuple(listed_by_split),
        reads=tags.name,
        class_list=class_list.name if has_list else "",
    )


def object_names(xml: bytes) -> tuple[str, ...]:
    """Class names of the objects of a VOC annotation, each once, in their order.

    Document type declarations are refused, so no entity can be expanded.

    Raises:
        ValueError: not XML, it declares a document type, or an object has no name.
    """
    names: list[str] = []
    objects = 0
    named = False
    path: list[str] = []
    text: list[str] = []
    parser = expat.ParserCreate()

    def start(tag: str, _: object) -> None:
        nonlocal objects, named
        path.append(tag)
        text.clear()
        if len(path) == 2 and tag == "object":
            objects += 1
            named = False

    def end(_: str) -> None:
        nonlocal named
        # Three levels: an object's parts have names too (object/part/name).
        if len(path) == 3 and path[1:] == ["object", "name"]:
            name = "".join(text).strip()
            named = named or bool(name)
            names.extend([name] if name else [])
        elif len(path) == 2 and path[1] == "object" and not named:
            raise ValueError(f"object {objects} has no name")
        path.pop()

    def doctype(*_: object) -> None:
        raise ValueError(_NO_DOCTYPE)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from None
    return tuple(dict.fromkeys(names))


def _voc_root(folder: Path) -> Path | None:
    years = [
        p
        for parent in (folder, folder / "VOCdevkit")
        if parent.is_dir()
        for p in sorted(parent.glob("VOC[0-9][0-9][0-9][0-9]"), reverse=True)
    ]
    for candidate in (folder, *years):
        if (candidate / _PHOTOS).is_dir() and (candidate / "ImageSets").is_dir():
            return candidate.resolve()
    return None


def _listed(
    root: Path, options: SourceOptions, problems: list[DataProblem]
) -> dict[Split, list[ListedPhoto]]:
    """Photos of the wanted splits; only the default validation list may be missing."""
    listed: dict[Split, list[ListedPhoto]] = {}
    for split, wanted in zip(SPLITS, (options.train_split, options.val_split), strict=True):
        if wanted is None:
            continue
        path = find_list(root, wanted) or next(
            (p for p in (root / lists / f"{wanted}.txt" for lists in _LISTS) if p.is_file()), None
        )
        if path is None and split == "val" and wanted == SourceOptions.val_split:
            continue
        if path is None:
            known = sorted({p.stem for lists in _LISTS for p in (root / lists).glob("*.txt")})
            raise DataError(
                f"no split list {wanted!r}{nearest_hint(wanted, known)}",
                where=root / _LISTS[0],
                fix=f"Known: {first_few(known, 12)}; or give a text file of ids."
                if known
                else f"There is none in ImageSets: write {wanted}.txt there, one "
                "id a line, or give a text file of ids.",
            )
        listed[split], found = read_id_list(path)
        problems += found
    return listed


def _tag_source(
    root: Path, options: SourceOptions, names: tuple[str, ...], problems: list[DataProblem]
) -> _Tags:
    """The wanted source of tags, or the first that is there."""
    available = [
        kind
        for kind, there in (
            ("tags.csv", (root / "tags.csv").is_file()),
            ("cls_labels", (root / "cls_labels.npy").is_file()),
            ("annotations", (root / "Annotations").is_dir()),
        )
        if there
    ]
    kind = options.tags if options.tags != "auto" else next(iter(available), "")
    if kind not in available:
        wanted = {"": "tags", "cls_labels": "cls_labels.npy"}.get(kind, kind)
        raise DataError(
            f"no {wanted} found",
            where=root,
            fix="Tags come from tags.csv, cls_labels.npy or Annotations/*.xml.",
        )
    if kind == "tags.csv":
        table = read_table(root / "tags.csv", names)
        problems += table.problems
        own = {}
        for row in table.rows:
            id = row.id.removeprefix(f"{_PHOTOS}/")
            if id in own:
                problems.append(
                    DataProblem(f"{row.where}: id {id!r} is listed twice; remove one line")
                )
            own[id] = row.tags
        return _Tags(own.get, tuple(own), "tags.csv", complete=True)
    if kind == "cls_labels":
        labels = read_cls_labels(root / "cls_labels.npy", len(names))
        by_name = {id: tuple(names[tag] for tag in tags) for id, tags in labels.items()}
        return _Tags(by_name.get, tuple(by_name), "cls_labels.npy", complete=False)

    def annotation(id: str) -> tuple[str, ...] | None:
        path = root / "Annotations" / f"{id}.xml"
        try:
            return object_names(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            problems.append(
                DataProblem(
                    f"Annotations/{id}.xml can't be read: {error}; mend or replace it", photo=id
                )
            )
            return ()

    return _Tags(annotation, (), "Annotations", complete=False)


def _tags_of(id: str, tags: _Tags, where: str, problems: list[DataProblem]) -> tuple[str, ...]:
    own = tags.of(id)
    if own is None:
        what = "has no annotation" if tags.name == "Annotations" else f"is not in {tags.name}"
        problems.append(
            DataProblem(
                f"photo {id!r} ({where}) {what}; add it (with empty tags if it holds background "
                "only) or remove it from the list",
                photo=id,
            )
        )
        return ()
    return own


def _tags_without_photo(
    tags: _Tags, photos: dict[str, list[FoundFile]], entries: Iterable[InventoryEntry]
) -> list[DataProblem]:
    listed = {entry.id for entry in entries}
    orphans = [id for id in tags.ids if id not in photos and id not in listed]
    if tags.complete:
        return [
            DataProblem(
                f"{tags.name} has tags of {id!r}, but there is no such photo in {_PHOTOS}; "
                "add the photo or remove the line",
                photo=id,
            )
            for id in orphans
        ]
    if orphans:
        return [
            DataProblem(
                f"{tags.name} has tags of {len(orphans)} photos that aren't there: "
                f"{first_few(orphans)}",
                warning=True,
            )
        ]
    return []


class _Masks:
    """Finds a photo's mask: the one its list names, else the official one, else the augmented."""

    def __init__(self, root: Path) -> None:
        self._files = {file.path: file for folder in _MASKS for file in list_files(root, folder)}
        self._absent: list[str] = []

    def of(self, id: str, photo: ListedPhoto) -> FoundFile | None:
        usual = [f"{folder}/{id}.png" for folder in _MASKS]
        if photo.mask is not None and photo.mask not in self._files:
            self._absent.append(photo.mask)
        for path in ([photo.mask] if photo.mask is not None else []) + usual:
            if path in self._files:
                return self._files[path]
        return None

    def problems(self) -> list[DataProblem]:
        """One warning for all masks that lists name but that aren't there.

        No error: psa's lists name masks that training has no need of.
        """
        if not self._absent:
            return []
        return [
            DataProblem(
                f"{len(self._absent)} masks named in the lists do not exist: "
                f"{first_few(self._absent)}",
                warning=True,
            )
        ]
