"""COCO's JSON files: which of a folder's files to read, and their photos, categories and tags.

Outlines stay in the file: only their positions are kept (see `json_stream`), and a mask is drawn
when it is needed (see `masks`).
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem, SourceOptions
from tag2mask.data.layouts.coco.json_stream import ArrayItem, iterate_items
from tag2mask.data.layouts.listing import subfolders
from tag2mask.errors import DataError, first_few

_SINGLE_FILES = ("instances.json", "annotations.json", "coco.json", "_annotations.coco.json")
_OTHER_TASKS = ("captions_", "person_keypoints_", "image_info_", "stuff_", "panoptic_")


class CocoImage(NamedTuple):
    """One item of ``images``."""

    file_name: str
    size: tuple[int, int]
    """(h, w) px; 0 where the JSON doesn't give it."""


class ByteRange(NamedTuple):
    """Position of an annotation in its file."""

    start: int
    length: int


@dataclass
class CocoFile:
    """One JSON file without its outlines.

    Attributes:
        path: the file.
        split: the split whose photos it lists; empty: its name doesn't say.
        images: by image id.
        categories: names by category id.
        supercategories: names of their supercategories by category id; may be empty.
        tags: category ids by image id.
        annotations: positions of each image's annotations in the file.
        checksums: crc32 of each image's annotations.
        has_outlines: whether any annotation has an outline.
        without_outline: image ids with an object that has no outline: masks would lack it.
        problems: items that can't be used.
    """

    path: Path
    split: str
    images: dict[int, CocoImage] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    supercategories: dict[int, str] = field(default_factory=dict)
    tags: dict[int, set[int]] = field(default_factory=dict)
    annotations: dict[int, list[ByteRange]] = field(default_factory=dict)
    checksums: dict[int, int] = field(default_factory=dict)
    has_outlines: bool = False
    without_outline: set[int] = field(default_factory=set)
    problems: list[DataProblem] = field(default_factory=list)

    def mask_stamp(self, image: int) -> str:
        """Return what differs where the annotations of an image were changed."""
        count, checksum = len(self.annotations.get(image, [])), self.checksums.get(image, 0)
        return f"coco-{count}-{checksum:08x}"


def read_coco_file(path: Path, split: str) -> CocoFile:
    """Read one JSON file as a stream.

    Args:
        path: the file.
        split: its split, or empty.

    Raises:
        DataError: not COCO JSON, or cut off. Problems of single items are in the result.
    """
    file = CocoFile(path, split)
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
                    else f"is damaged: {error}; fix or remove it"
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
    for array in ("images", "categories"):
        if not counts[array]:
            raise DataError(
                f"the JSON has no {array}",
                where=path,
                fix="Give COCO's instances file (images, annotations, categories).",
            )
    _check_references(file)
    return file


def _add_item(file: CocoFile, item: ArrayItem) -> None:
    """Add one item of one of the arrays."""
    value = item.value
    if item.array == "images":
        key = int(value["id"])
        if key in file.images:
            raise ValueError(f"image id {key} is listed twice")
        file.images[key] = CocoImage(
            str(value["file_name"]), (int(value.get("height", 0)), int(value.get("width", 0)))
        )
    elif item.array == "categories":
        key = int(value["id"])
        if key in file.categories:
            raise ValueError(f"category id {key} is listed twice")
        file.categories[key] = str(value["name"])
        file.supercategories[key] = str(value.get("supercategory") or "")
    else:
        key = int(value["image_id"])
        file.tags.setdefault(key, set()).add(int(value["category_id"]))
        file.annotations.setdefault(key, []).append(ByteRange(item.start, len(item.raw)))
        file.checksums[key] = zlib.crc32(item.raw, file.checksums.get(key, 0))
        if value.get("segmentation"):
            file.has_outlines = True
        else:
            file.without_outline.add(key)


def _check_references(file: CocoFile) -> None:
    """Append problems of unknown images and categories; remove the latter from the tags."""
    unknown_images = [key for key in file.tags if key not in file.images]
    if unknown_images:
        file.problems.append(
            DataProblem(
                f"{file.path.name}: annotations of {len(unknown_images)} photos that "
                f"`images` doesn't list: {first_few(map(str, unknown_images))}; list them "
                "there, or remove their annotations"
            )
        )
    unknown = {c for tags in file.tags.values() for c in tags} - file.categories.keys()
    if unknown:
        file.problems.append(
            DataProblem(
                f"{file.path.name}: annotations of unknown categories: "
                f"{first_few(map(str, sorted(unknown)))}; list them in "
                "`categories`, or fix the annotations"
            )
        )
        for tags in file.tags.values():
            tags -= unknown


def find_coco_files(root: Path, options: SourceOptions) -> list[tuple[Path, str]]:
    """Return the JSON files to read, each with its split ("": its name doesn't say).

    Raises:
        DataError: no file, several for one split, or none for training.
    """
    candidates = candidate_files(root)
    if not candidates:
        raise DataError(
            "no COCO JSON", where=root, fix="Put instances_train.json into annotations/."
        )
    chosen: list[tuple[Path, str]] = []
    for split in (options.train_split, options.val_split):
        named = [] if split is None else [p for p in candidates if is_of_split(p, root, split)]
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


def is_of_split(path: Path, root: Path, split: str) -> bool:
    """Return whether a JSON file is of a split, by its name or its folder's."""
    if path.name == "_annotations.coco.json":
        return path.parent != root and path.parent.name == split
    return re.fullmatch(rf"(instances_)?{re.escape(split)}(\d{{4}})?", path.stem) is not None


def candidate_files(root: Path) -> list[Path]:
    """Return the JSON files that may be COCO's instances, by their names."""
    found = [
        path
        for path in sorted((root / "annotations").glob("*.json"))
        if not path.name.startswith((*_OTHER_TASKS, "."))
    ]
    found += [
        path
        for path in sorted(root.glob("*.json"))
        if path.name in _SINGLE_FILES or path.name.startswith("instances_")
    ]
    inner = (root / name / "_annotations.coco.json" for name in subfolders(root))
    return found + [path for path in inner if path.exists()]
