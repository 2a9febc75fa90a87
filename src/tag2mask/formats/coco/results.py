"""COCO's lists of results: what a model found in photos that another file lists.

::

    [{"image_id": 42, "category_id": 18, "score": 0.9, "segmentation": {"size": [480, 640], ...}}]

The photos and categories are numbers there, whose names are in the JSON that the model was given
(``images``, ``categories``). Without it, an item's ``file_name`` or its ``image_id`` is the name of
the photo, and the ``category_id`` the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tag2mask.errors import counted, first_few
from tag2mask.formats.annotations import AnnotatedPhoto, SizeOf, name_text
from tag2mask.formats.coco.instances import (
    CocoFile,
    CocoImage,
    add_annotation,
    coco_id,
    coco_json,
    item_problems,
    read_coco_file,
    sort_ids,
)
from tag2mask.formats.coco.reading import photos_of_file
from tag2mask.formats.text_files.json_stream import iterate_list


def is_coco_results(path: Path) -> bool:
    """Return whether a JSON file is a list of results, by its first item."""
    try:
        first = next(iterate_list(path), None)
    except (ValueError, OSError):
        return False
    return (
        first is not None
        and isinstance(first.value, dict)
        and {"image_id", "category_id"} <= first.value.keys()
    )


def read_coco_results(
    path: Path, lists: Sequence[Path] = (), size_of: SizeOf | None = None
) -> Iterator[AnnotatedPhoto]:
    """Return the photos that a list has results of; outlines are drawn when asked for.

    Photos without any result are left out: nobody knows whether the model has seen them.

    Args:
        path: the list.
        lists: COCO's JSON files with the photos and categories; none: see above.
        size_of: as in `read_coco`.

    Raises:
        DataError: not such a list, or cut off.
        ProblemsError: items that can't be used, or that are of no listed photo or category.
    """
    file = CocoFile(path, "")
    for other in lists:
        _add_list(file, other)
    with coco_json(path):
        for number, item in enumerate(iterate_list(path), 1):
            with item_problems(file, f"result {number}"):
                if not lists:
                    _add_names(file, item.value)
                add_annotation(file, item)
    _check_listed(file)
    file.images = {key: image for key, image in file.images.items() if key in file.tags}
    return photos_of_file(file, size_of)


def _add_list(file: CocoFile, path: Path) -> None:
    """Add the photos and categories of another file; ids must mean the same in all."""
    listed = read_coco_file(path)
    file.problems += listed.problems
    for key, image in listed.images.items():
        if file.images.setdefault(key, image) != image:
            file.problems.append(
                f"{path.name}: image {key} is {image.file_name!r}, elsewhere "
                f"{file.images[key].file_name!r}; import the results of each file on their own"
            )
    for key, name in listed.categories.items():
        if file.categories.setdefault(key, name) != name:
            file.problems.append(
                f"{path.name}: category {key} is {name!r}, elsewhere {file.categories[key]!r}; "
                "give it one name in all files"
            )


def _add_names(file: CocoFile, result: Any) -> None:
    """Name the photo and the category of a result by their ids."""
    image, category = coco_id(result["image_id"]), coco_id(result["category_id"])
    name = result.get("file_name")
    name = str(image) if name is None else name_text(name)
    file.images.setdefault(image, CocoImage(name, (0, 0)))
    file.categories.setdefault(category, str(category))


def _check_listed(file: CocoFile) -> None:
    """Append problems of results whose photos or categories aren't listed."""
    images = file.tags.keys() - file.images.keys()
    categories = {c for tags in file.tags.values() for c in tags} - file.categories.keys()
    for unknown, one, several in (
        (images, "photo", "photos"),
        (categories, "category", "categories"),
    ):
        if unknown:
            ids = first_few(map(str, sort_ids(unknown)))
            file.problems.append(
                f"{file.path.name}: results of {counted(len(unknown), one, several)} that the "
                f"given files don't list: {ids}; give the JSON that the model was given"
            )
