"""COCO's JSON: tags are the categories of a photo's annotations.

::

    DIR/annotations/instances_train2017.json, instances_val2017.json   (or without the year)
    DIR/train2017/, val2017/  (or images/, images/train2017/, train/, or DIR itself)

or ``DIR/train/_annotations.coco.json`` beside its photos, or one JSON (``DIR/annotations/*.json``,
``annotations.json``, ``instances.json`` or ``coco.json``) whose photos are all for training unless
a list of ids says otherwise. A photo's id is its path below DIR (below ``images/``, where there is
one) without suffix. Categories number the classes in the order of their ids.

Crowd annotations count as tags. In masks, small objects lie on large ones, crowds are ignored
(255) where no object lies on them. The JSON is read as a stream (see ``json_stream``): outlines
stay in the file until a mask is drawn.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tag2mask.classes import IGNORE, mask_id
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.json_stream import Item, iterate_items
from tag2mask.data.layouts.listing import (
    FoundFile,
    list_files,
    missing_photo,
    subfolders,
    without_suffix,
    written_path,
)
from tag2mask.data.layouts.splits import SplitRule
from tag2mask.errors import DataError, first_few

_SINGLE = ("instances.json", "annotations.json", "coco.json", "_annotations.coco.json")
_OTHER_TASKS = ("captions_", "person_keypoints_", "image_info_", "stuff_", "panoptic_")


class _Photo(NamedTuple):
    """One item of ``images``."""

    file_name: str
    size: tuple[int, int]


class _Outlined(NamedTuple):
    """Where a photo's outlines stand."""

    file: Path
    """The JSON file."""
    size: tuple[int, int]
    """(h, w) as the JSON has it."""
    places: list[tuple[int, int]]


@dataclass
class _Annotated:
    """One JSON file, without its outlines."""

    path: Path
    split: str
    photos: dict[int, _Photo] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    tags: dict[int, set[int]] = field(default_factory=dict)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """(offset, bytes) of each photo's annotations in the file."""
    checksums: dict[int, int] = field(default_factory=dict)
    outlined: bool = False
    boxes_only: set[int] = field(default_factory=set)
    """Photos with an object that has no outline: their masks would lack it."""
    problems: list[DataProblem] = field(default_factory=list)


def is_coco(folder: Path) -> bool:
    """Whether a folder holds COCO JSON, judged by the names of its files."""
    return bool(_candidates(folder))


def read_coco(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with COCO annotations (see the head of the module).

    Raises:
        DataError: no JSON, more than one without a split's name, or damaged.
    """
    root = folder.resolve()
    rule = SplitRule(root, options)
    chosen = _json_files(root, options)
    files = [_read_annotations(path, split) for path, split in chosen]
    categories: dict[int, str] = {}
    problems: list[DataProblem] = []
    taken = {path for path, _ in chosen}
    spare = [
        path.relative_to(root).as_posix()
        for path in _candidates(root)
        if path not in taken and not _is_split(path, root, "test")
    ]
    if spare:
        problems.append(
            DataProblem(
                f"JSON files that take no part: {first_few(spare)}; set "
                "prepare.val_split or prepare.train_split to their split",
                warning=True,
            )
        )
    for file in files:
        for key, name in file.categories.items():
            if categories.setdefault(key, name) != name:
                problems.append(
                    DataProblem(
                        f"{file.path.name}: category {key} is {name!r}, elsewhere "
                        f"{categories[key]!r}; give it one name in all files"
                    )
                )
        problems += file.problems
    order = {key: index for index, key in enumerate(sorted(categories))}
    names = tuple(categories[key] for key in sorted(categories))
    masks = CocoMasks(order)
    listing = {file.path: file for file in list_files(root)}
    entries: list[InventoryEntry] = []
    ids: set[str] = set()
    for file in files:
        for entry, key in _entries(file, root, listing, rule, categories, ids, problems):
            entries.append(entry)
            if entry.mask_stamp:
                masks.add(entry.id, file.path, file.photos[key].size, file.places.get(key, []))
    problems += rule.problems(ids)
    splits = tuple(sorted({file.split or "train" for file in files}))
    return Inventory(
        "coco",
        root,
        names,
        tuple(entries),
        tuple(problems),
        splits,
        mask_drawer=masks,
        reads=", ".join(file.path.name for file in files),
    )


class CocoMasks:
    """Draws masks from the outlines in the JSON files.

    Args:
        order: tag id of each category id.
    """

    def __init__(self, order: dict[int, int]) -> None:
        self._order = order
        self._photos: dict[str, _Outlined] = {}

    def add(
        self, id: str, file: Path, size: tuple[int, int], places: list[tuple[int, int]]
    ) -> None:
        """Note where a photo's annotations stand in a JSON file, and its (h, w) there."""
        self._photos[id] = _Outlined(file, size, places)

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Mask of a photo of ``size`` (h, w), uint8: 0 background, 1..C classes, 255 crowds.

        Raises:
            DataError: an outline is damaged or of an unknown category, or the photo has another
                size in the JSON.
        """
        path, (height, width), places = self._photos[id]
        # First, since a wrong size may take all memory.
        if size != (height, width):
            raise DataError(
                f"photo {id!r} has another size: {width}x{height} in the JSON, "
                f"{size[1]}x{size[0]} px in its file",
                where=path,
                fix="Correct its width and height, or replace the photo.",
            )
        objects: list[tuple[int, int, NDArray[np.bool_]]] = []
        with path.open("rb") as file:
            for start, length in places:
                file.seek(start)
                text = file.read(length)
                number: Any = "?"
                try:
                    annotation = json.loads(text)
                    number = annotation.get("id")
                    category = int(annotation["category_id"])
                    inside = _inside(annotation["segmentation"], height, width)
                except Exception as error:  # pycocotools raises bare ones
                    raise DataError(
                        f"damaged outline of photo {id!r} (annotation {number}): {error}",
                        where=path,
                        fix="Mend or remove the annotation.",
                    ) from None
                if category not in self._order:
                    raise DataError(
                        f"annotation {number} of photo {id!r} is of the unknown "
                        f"category {category}",
                        where=path,
                        fix="List it in `categories`, or mend the annotation.",
                    )
                value = IGNORE if annotation.get("iscrowd") else mask_id(self._order[category])
                objects.append((value, int(inside.sum()), inside))
        mask = np.zeros((height, width), np.uint8)
        for value, _, inside in sorted(objects, key=lambda o: (o[0] != IGNORE, -o[1])):
            mask[inside] = value
        return mask


def _inside(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels (h, w) of polygons, or of a run-length code in either form.

    Raises:
        ValueError: what pycocotools would crash on, or read as anything at all.
    """
    if isinstance(segmentation, list):
        for polygon in segmentation:
            _check_polygon(polygon, height, width)
        # Fewer than three corners enclose nothing; pycocotools would read four numbers as a box.
        polygons = [p for p in segmentation if len(p) >= 6]
        if not polygons:
            return np.zeros((height, width), np.bool_)
        code = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict):
        return _from_runs(segmentation, height, width)
    else:
        raise ValueError(
            f"{str(segmentation)[:40]!r} is neither a list of polygons nor a run-length code"
        )
    inside: NDArray[np.bool_] = coco_mask.decode(code).astype(np.bool_)
    return inside


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    """Refuse a polygon that pycocotools can't fill: it takes memory by its length in pixels."""
    if not isinstance(polygon, list) or not all(type(n) in (int, float) for n in polygon):
        raise ValueError("a polygon is a list of numbers, x, y, x, y, ...")
    if len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers, which should be pairs of x and y")
    for side, numbers in ((width, polygon[::2]), (height, polygon[1::2])):
        # Outlines of tiles cut from large photos lie far over the border; NaN is nowhere.
        most = max(10 * side, 10_000)
        for number in numbers:
            if not -most <= number <= most:
                raise ValueError(
                    f"the coordinate {number} lies far outside of the photo, {width}x{height} px"
                )


def _from_runs(segmentation: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels (h, w) of a run-length code: runs of pixels outside and inside in turn, by column.

    Not by pycocotools, which decodes runs that end too soon to whatever lies in the memory.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"its size {size} is not the photo's {[height, width]}")
    if isinstance(counts, str):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(
        type(n) is int or (type(n) is float and n.is_integer()) for n in counts
    ):
        runs = [int(n) for n in counts]
    else:
        raise ValueError("its counts are neither a string nor a list of whole numbers")
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"its counts come to {sum(runs)} pixels, or some are negative; the photo "
            f"has {height * width}"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((width, height)).T


def _decompressed(text: str) -> list[int]:
    """Run lengths of COCO's compressed form.

    A number is written in characters of five bits, the lowest first; a sixth bit says that more
    follow, the fifth of the last one is the sign. From the fourth run on it is what the run has
    more than the one before the last.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its counts hold the character {character!r}")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("its counts are cut off")
    return runs


def _entries(
    file: _Annotated,
    root: Path,
    listing: dict[str, FoundFile],
    rule: SplitRule,
    categories: dict[int, str],
    ids: set[str],
    problems: list[DataProblem],
) -> Iterator[tuple[InventoryEntry, int]]:
    """Entries of one JSON file, each with the key of its photo."""
    prefixes = _prefixes(file, root)
    for key, photo in file.photos.items():
        where = f"{file.path.name} image {key}"
        written, problem = written_path(photo.file_name)
        if problem:
            problems.append(DataProblem(f"{where}: file_name {photo.file_name!r} {problem}"))
            continue
        found = next((listing[p + written] for p in prefixes if p + written in listing), None)
        path = found.path if found else written
        id = without_suffix(path).removeprefix("images/")
        ids.add(id)
        split = rule.split_of(id, file.split)
        if split is None:
            continue
        if found is None:
            problems.append(missing_photo(id, root / path, where))
        masked = file.outlined and key not in file.boxes_only
        if masked and min(photo.size) < 1:
            masked = False
            problems.append(
                DataProblem(
                    f"{where}: no width and height, without which no mask can be drawn; add them",
                    photo=id,
                )
            )
        stamp = f"coco-{len(file.places.get(key, []))}-{file.checksums.get(key, 0):08x}"
        yield (
            InventoryEntry(
                id=id,
                split=split,
                where=where,
                tags=tuple(categories[c] for c in sorted(file.tags.get(key, ()))),
                image=found.path if found else None,
                stamp=found.stamp if found else "",
                mask_stamp=stamp if masked else "",
            ),
            key,
        )


def _prefixes(file: _Annotated, root: Path) -> list[str]:
    """Folders (relative, ending in "/" or empty) that may hold a JSON's photos."""
    stem = re.sub(r"^(instances|annotations)_?", "", file.path.stem)
    own = file.path.parent.relative_to(root).as_posix()
    folders = [] if own in (".", "annotations") else [own]
    for name in dict.fromkeys((stem, file.split)):
        folders += [name, f"images/{name}"] if name else []
    return [f"{folder}/" for folder in folders] + ["images/", "JPEGImages/", ""]


def _read_annotations(path: Path, split: str) -> _Annotated:
    """Read one JSON file as a stream.

    Raises:
        DataError: not COCO JSON, or cut off.
    """
    file = _Annotated(path, split)
    counts = {"images": 0, "annotations": 0, "categories": 0}
    try:
        for item in iterate_items(path, counts):
            counts[item.array] += 1
            try:
                _add_item(file, item)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                wrong = (
                    f"lacks the key {error}; add it, or remove the item"
                    if isinstance(error, KeyError)
                    else f"is damaged: {error}; mend or remove it"
                )
                file.problems.append(
                    DataProblem(f"{path.name}: {item.array} item {counts[item.array]} {wrong}")
                )
    except OSError as error:
        raise DataError(
            f"can't be read: {error.strerror}", where=path, fix="Check its permissions."
        ) from None
    except ValueError as error:
        raise DataError(
            f"not COCO JSON: {error}", where=path, fix="Replace the file: it is damaged or cut off."
        ) from None
    if not counts["images"] or not counts["categories"]:
        lacking = "images" if not counts["images"] else "categories"
        raise DataError(
            f"the JSON has no {lacking}",
            where=path,
            fix="Give COCO's instances file (images, annotations, categories).",
        )
    lost = [key for key in file.tags if key not in file.photos]
    if lost:
        file.problems.append(
            DataProblem(
                f"{path.name}: annotations of {len(lost)} photos that "
                f"`images` doesn't list: {first_few(map(str, lost))}; list them "
                "there, or remove their annotations"
            )
        )
    unknown = {c for tags in file.tags.values() for c in tags} - file.categories.keys()
    if unknown:
        file.problems.append(
            DataProblem(
                f"{path.name}: annotations of unknown categories: "
                f"{first_few(map(str, sorted(unknown)))}; list them in "
                "`categories`, or mend the annotations"
            )
        )
        for tags in file.tags.values():
            tags -= unknown
    return file


def _add_item(file: _Annotated, item: Item) -> None:
    """Take in one item of one of the arrays."""
    value = item.value
    if item.array == "images":
        key = int(value["id"])
        if key in file.photos:
            raise ValueError(f"image id {key} is listed twice")
        file.photos[key] = _Photo(
            str(value["file_name"]), (int(value.get("height", 0)), int(value.get("width", 0)))
        )
    elif item.array == "categories":
        key = int(value["id"])
        if key in file.categories:
            raise ValueError(f"category id {key} is listed twice")
        file.categories[key] = str(value["name"])
    else:
        key = int(value["image_id"])
        file.tags.setdefault(key, set()).add(int(value["category_id"]))
        file.places.setdefault(key, []).append((item.start, len(item.raw)))
        file.checksums[key] = zlib.crc32(item.raw, file.checksums.get(key, 0))
        if value.get("segmentation"):
            file.outlined = True
        else:
            file.boxes_only.add(key)


def _json_files(root: Path, options: SourceOptions) -> list[tuple[Path, str]]:
    """The JSON files to read, each with the split that it holds ("": not told)."""
    candidates = _candidates(root)
    if not candidates:
        raise DataError(
            "no COCO JSON", where=root, fix="Put instances_train.json into annotations/."
        )
    chosen: list[tuple[Path, str]] = []
    for split in (options.train_split, options.val_split):
        named = [] if split is None else [p for p in candidates if _is_split(p, root, split)]
        if len(named) > 1:
            raise DataError(
                f"several JSON files for split {split!r}: {first_few(p.name for p in named)}",
                where=root,
                fix="Name the split with its year, as in `train2017`.",
            )
        chosen += [(path, split or "") for path in named]
    if any(split == options.train_split for _, split in chosen):
        return chosen
    rest = [path for path in candidates if path not in [p for p, _ in chosen]]
    if options.train_split.endswith(".txt"):
        return [(path, "") for path in rest] + chosen
    if len(rest) != 1:
        raise DataError(
            f"no JSON for split {options.train_split!r} among "
            f"{first_few(p.name for p in candidates)}",
            where=root,
            fix="Set prepare.train_split, or name the file instances_train.json.",
        )
    return [(rest[0], ""), *chosen]


def _is_split(path: Path, root: Path, split: str) -> bool:
    if path.name == "_annotations.coco.json":
        return path.parent != root and path.parent.name == split
    return re.fullmatch(rf"(instances_)?{re.escape(split)}(\d{{4}})?", path.stem) is not None


def _candidates(root: Path) -> list[Path]:
    """JSON files that by their names may hold COCO instances."""
    found = [
        path
        for path in sorted((root / "annotations").glob("*.json"))
        if not path.name.startswith((*_OTHER_TASKS, "."))
    ]
    found += [
        path
        for path in sorted(root.glob("*.json"))
        if path.name in _SINGLE or path.name.startswith("instances_")
    ]
    inner = (root / name / "_annotations.coco.json" for name in subfolders(root))
    return found + [path for path in inner if path.exists()]
