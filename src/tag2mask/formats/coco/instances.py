"""COCO's JSON files: their photos, categories and tags.

Outlines stay in the file: only their positions are kept (see `json_stream`), and a mask is drawn
when it is needed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tag2mask.errors import DataError, counted, first_few
from tag2mask.formats.annotations import label_text, name_text
from tag2mask.formats.coco.outlines import NO_EXTENT, Extent, has_area, outline_extent
from tag2mask.formats.text_files.json_stream import ArrayItem, iterate_items
from tag2mask.formats.text_files.readable import readable

CocoId = int | str
"""An id of an image or a category: most tools write numbers, some text."""


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
class CocoOutlines:
    """The outlines of one image.

    Attributes:
        places: positions of its annotations in the file.
        checksum: crc32 of them.
        extent: what its photo must cover.
        missing: number of its objects without an outline.
        damage: what is wrong with one that can't be drawn; empty: nothing.
    """

    places: list[ByteRange] = field(default_factory=list)
    checksum: int = 0
    extent: Extent = NO_EXTENT
    missing: int = 0
    damage: str = ""

    @property
    def stamp(self) -> str:
        """A value that changes when the annotations change."""
        return f"coco-{len(self.places)}-{self.checksum:08x}"


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
        outlines: by image id; images without annotations have none.
        has_outlines: whether any annotation has an outline.
        problems: items that can't be used.
    """

    path: Path
    split: str
    images: dict[CocoId, CocoImage] = field(default_factory=dict)
    categories: dict[CocoId, str] = field(default_factory=dict)
    supercategories: dict[CocoId, str] = field(default_factory=dict)
    tags: dict[CocoId, set[CocoId]] = field(default_factory=dict)
    outlines: dict[CocoId, CocoOutlines] = field(default_factory=dict)
    has_outlines: bool = False
    problems: list[str] = field(default_factory=list)


def read_coco_file(path: Path, split: str = "", *, may_be_empty: bool = False) -> CocoFile:
    """Read one JSON file as a stream.

    Args:
        path: the file.
        split: its split, or empty.
        may_be_empty: it may list no images.

    Raises:
        DataError: not COCO JSON, or cut off. Problems of single items are in the result.
    """
    file = CocoFile(path, split)
    counts = {"images": 0, "annotations": 0, "categories": 0}
    with coco_json(path):
        for item in iterate_items(path, counts):
            counts[item.array] += 1
            with item_problems(file, f"{item.array} item {counts[item.array]}"):
                _add_item(file, item)
    for array in ("images", "categories"):
        if not counts[array] and not may_be_empty:
            raise DataError(
                f"the JSON has no {array}",
                where=path,
                fix="Give COCO's instances file (images, annotations, categories).",
            )
    _check_references(file)
    return file


@contextmanager
def coco_json(path: Path) -> Iterator[None]:
    """Name a file that can't be read.

    Raises:
        DataError: instead of an OSError or ValueError in the block.
    """
    try:
        with readable(path):
            yield
    except ValueError as error:
        raise DataError(
            f"not COCO JSON: {error}", where=path, fix="Replace the file: it is damaged or cut off."
        ) from None


@contextmanager
def item_problems(file: CocoFile, what: str) -> Iterator[None]:
    """Append what is wrong with an item of a file to its problems, instead of raising it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        wrong = (
            f"lacks the key {error}; add it, or remove the item"
            if isinstance(error, KeyError)
            else f"is damaged: {error}; fix or remove it"
        )
        file.problems.append(f"{file.path.name}: {what} {wrong}")


def coco_id(value: Any) -> CocoId:
    """Return an id of an image or category as it is compared: 7 and "7" are equal.

    Raises:
        ValueError: neither a number nor text.
    """
    if isinstance(value, str) and value:
        is_number = value.isdecimal() and len(value) < 20 and str(int(value)) == value
        return int(value) if is_number else value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise ValueError(f"the id {value!r} is neither a number nor text")


def is_crowd(annotation: Any) -> bool:
    """Return whether an annotation is of a group, by its ``iscrowd``: some tools write it as text.

    Raises:
        ValueError: neither 0 nor 1.
    """
    value = annotation.get("iscrowd")
    if value is None or value in (0, "0"):
        return False
    if value in (1, "1"):
        return True
    raise ValueError(f"its iscrowd is {value!r}, neither 0 nor 1")


def sort_ids(ids: Iterable[CocoId]) -> list[CocoId]:
    """Return ids in order: numbers first, then text."""
    return sorted(ids, key=lambda key: (isinstance(key, str), key))


def _add_item(file: CocoFile, item: ArrayItem) -> None:
    """Add one item of one of the arrays."""
    value = item.value
    if item.array == "images":
        key = coco_id(value["id"])
        if key in file.images:
            raise ValueError(f"image id {key} is listed twice")
        size = _pixels(value, "height"), _pixels(value, "width")
        file.images[key] = CocoImage(name_text(value["file_name"]), size)
    elif item.array == "categories":
        key = coco_id(value["id"])
        if key in file.categories:
            raise ValueError(f"category id {key} is listed twice")
        file.categories[key] = label_text(value["name"])
        file.supercategories[key] = str(value.get("supercategory") or "")
    else:
        add_annotation(file, item)


def add_annotation(file: CocoFile, item: ArrayItem) -> None:
    """Add the tag and the outline of an annotation.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is damaged.
    """
    key = coco_id(item.value["image_id"])
    file.tags.setdefault(key, set()).add(coco_id(item.value["category_id"]))
    _add_outline(file, key, item)


def _pixels(image: Any, side: str) -> int:
    """Return a side of an image in px; 0 where it is missing or null, as many tools write it."""
    value = image.get(side)
    try:
        return max(0, int(value)) if value is not None else 0
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"its {side} is {value!r}, not a number of pixels") from None


def _add_outline(file: CocoFile, key: CocoId, item: ArrayItem) -> None:
    """Add the outline of an annotation of an image."""
    outlines = file.outlines.setdefault(key, CocoOutlines())
    outlines.places.append(ByteRange(item.start, len(item.raw)))
    outlines.checksum = zlib.crc32(item.raw, outlines.checksum)
    is_crowd(item.value)
    segmentation = item.value.get("segmentation")
    if not has_area(segmentation):
        outlines.missing += 1
        return
    file.has_outlines = True
    try:
        outlines.extent = outlines.extent.around(outline_extent(segmentation))
    except ValueError as error:
        outlines.damage = f"annotation {item.value.get('id')}: {error}"


def _check_references(file: CocoFile) -> None:
    """Append problems of unknown images and categories; remove the latter from the tags."""
    unknown_images = [key for key in file.tags if key not in file.images]
    if unknown_images:
        count = counted(len(unknown_images), "photo", "photos")
        file.problems.append(
            f"{file.path.name}: annotations of {count} that "
            f"`images` doesn't list: {first_few(map(str, unknown_images))}; list them "
            "there, or remove their annotations"
        )
    unknown = {c for tags in file.tags.values() for c in tags} - file.categories.keys()
    if unknown:
        file.problems.append(
            f"{file.path.name}: annotations of unknown categories: "
            f"{first_few(map(str, sort_ids(unknown)))}; list them in "
            "`categories`, or fix the annotations"
        )
        for tags in file.tags.values():
            tags -= unknown
