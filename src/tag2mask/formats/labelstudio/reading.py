"""Tags and masks from Label Studio's JSON and JSON-MIN.

::

    [{"id": 1, "data": {"image": "/data/upload/1/1f0e2d3c-a.jpg"},          JSON
      "annotations": [{"result": [{"type": "choices", "value": {"choices": ["dog"]}}, ...]}]}]

    [{"image": "/data/upload/1/1f0e2d3c-a.jpg", "id": 1,                    JSON-MIN
      "choice": "dog", "tag": [{"rle": [...], "brushlabels": ["dog"], ...}], "annotator": 1}]

A task's photo has what all its annotations say, or the one marked as ground truth. Predictions
count where there is no annotation. Tasks with neither, or that everybody skipped, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tag2mask.errors import DataError
from tag2mask.formats.annotations import (
    AnnotatedPhoto,
    Region,
    RegionKind,
    exported_id,
    label_text,
    score_of,
)
from tag2mask.formats.coco.outlines import draw_outline
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.labelstudio.brush_rle import decode_brush
from tag2mask.formats.photo_names import PHOTO_SUFFIXES
from tag2mask.formats.text_files.json_stream import ArrayItem, iterate_list
from tag2mask.formats.text_files.readable import changed_file, file_state, readable

_ANNOTATIONS = ("annotations", "completions", "predictions")
_MIN_KEYS = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""What JSON-MIN has after the labels."""


class _Result(NamedTuple):
    """One item that an annotator made."""

    item: dict[str, Any]
    """With the photo's size."""
    value: dict[str, Any]
    """Its labels and its outline."""
    score: float | None


def is_labelstudio(path: Path) -> bool:
    """Return whether a file is JSON or JSON-MIN of Label Studio, by its first task."""
    try:
        first = next(iterate_list(path), None)
    except (ValueError, OSError):
        return False
    task = first.value if first else None
    if not isinstance(task, dict):
        return False
    if isinstance(task.get("data"), dict):
        return any(isinstance(task.get(key), list) for key in _ANNOTATIONS)
    return "id" in task and any(key in task for key in _MIN_KEYS[:2])


def read_labelstudio(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a file, task by task; outlines are drawn when asked for.

    Raises:
        DataError: not a list of tasks, cut off.
        ProblemsError: after the other photos, all tasks that can't be read.
    """
    return each_photo(_tasks(path), partial(_photo, path), path)


def _tasks(path: Path) -> Iterator[ArrayItem]:
    try:
        with readable(path):
            yield from iterate_list(path)
    except ValueError as error:
        raise DataError(
            f"not a list of Label Studio's tasks: {error}",
            where=path,
            fix="Export it again, as JSON or JSON-MIN.",
        ) from None


def _photo(path: Path, task: ArrayItem) -> AnnotatedPhoto | None:
    """Return the photo of a task; None where nobody has labeled it.

    Raises:
        DataError: the task isn't one, or names no photo.
    """
    try:
        results = _results(task.value)
        if results is None:
            return None
        tags: list[str] = []
        regions: list[Region] = []
        for index, result in enumerate(results):
            tags += _choices(result.value)
            draw = partial(_draw, path, task.start, len(task.raw), index)
            regions += _regions(result, draw)
        size = next(filter(None, (_size(result.item) for result in results)), None)
        data = task.value.get("data", task.value)
        split = data.get("split")
        return AnnotatedPhoto(
            _address(data),
            size,
            split if isinstance(split, str) else None,
            tuple(dict.fromkeys(tags)),
            tuple(regions),
            exported_id(data),
        )
    except (TypeError, AttributeError, KeyError, ValueError, OverflowError) as error:
        number = task.value.get("id", "?") if isinstance(task.value, dict) else "?"
        raise DataError(f"task {number}: {error}") from None


def _results(task: dict[str, Any]) -> list[_Result] | None:
    """Return what annotators made of a task; None where nobody has labeled it."""
    if not isinstance(task.get("data"), dict):
        return _min_results(task)
    entries = next(filter(None, (task.get(key) for key in _ANNOTATIONS)), ())
    given = [entry for entry in entries if not entry.get("was_cancelled")]
    found = [entry for entry in given if entry.get("ground_truth")] or given
    if not found:
        return None
    return [
        _Result(item, item["value"], score_of(item.get("score", entry.get("score"))))
        for entry in found
        for item in entry.get("result") or ()
        if isinstance(item.get("value"), dict)
    ]


def text_fields(path: Path) -> tuple[str, ...]:
    """Return the fields of JSON-MIN whose texts are read as labels and may be comments.

    Both look the same there. A field that is the only one with labels has the classes.

    Raises:
        DataError: not a list of tasks, cut off.
    """
    labels: dict[str, bool] = {}
    for task in _tasks(path):
        if not isinstance(task.value, dict) or "id" not in task.value or "data" in task.value:
            return ()
        for key, values in _min_fields(task.value):
            if any(isinstance(value, str | dict) for value in values):
                has_text = any(isinstance(value, str) for value in values)
                labels[key] = labels.get(key, False) or has_text
    return tuple(key for key, has_text in labels.items() if has_text) if len(labels) > 1 else ()


def _min_fields(task: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the labels in a task of JSON-MIN, by field: what is between its id and annotator."""
    keys = list(task)
    first = keys.index("id") + 1
    last = min((keys.index(key) for key in _MIN_KEYS if key in task), default=len(keys))
    for key in keys[first:last]:
        yield key, task[key] if isinstance(task[key], list) else [task[key]]


def _min_results(task: dict[str, Any]) -> list[_Result]:
    """Return the results in a task of JSON-MIN."""
    found: list[_Result] = []
    for _, values in _min_fields(task):
        for value in values:
            if isinstance(value, str):
                value = {"choices": [value]}
            if isinstance(value, dict):
                found.append(_Result(value, value, score_of(value.get("score"))))
    return found


def _choices(value: dict[str, Any]) -> list[str]:
    """Return the chosen image-level labels."""
    choices = value.get("choices") or []
    return [label_text(c) for c in ([choices] if isinstance(choices, str) else choices)]


def _regions(result: _Result, draw: Callable[[], NDArray[np.bool_]]) -> Iterator[Region]:
    """Yield a region for each label of an outline; of boxes, ellipses and points without pixels."""
    value = result.value
    kind: RegionKind = "mask" if "rle" in value else "polygon" if "points" in value else "box"
    for key, labels in value.items():
        if key.endswith("labels") and isinstance(labels, list):
            for label in labels:
                yield Region(label_text(label), result.score, kind, None if kind == "box" else draw)


def _size(item: dict[str, Any]) -> tuple[int, int] | None:
    """Return the (width, height) of the photo that an item was drawn on."""
    if "original_width" not in item or "original_height" not in item:
        return None
    return int(item["original_width"]), int(item["original_height"])


def _address(data: dict[str, Any]) -> str:
    """Return the address of the photo among a task's data: `image`, or the only one.

    Raises:
        ValueError: there is none, or several.
    """
    texts = {key: text for key, text in data.items() if isinstance(text, str)}
    if "image" in texts:
        return texts["image"]
    images = [
        text
        for text in texts.values()
        if any(f"{suffix}?" in f"{text.lower()}?" for suffix in PHOTO_SUFFIXES)
    ]
    if len(images) != 1:
        raise ValueError(
            f"{'several texts' if images else 'none of the texts'} of its data may be the photo"
        )
    return images[0]


def _draw(path: Path, start: int, length: int, index: int) -> NDArray[np.bool_]:
    """Draw one item of a task.

    Raises:
        DataError: it is damaged, or the file has changed.
    """
    results = _read_results(path, start, length, file_state(path))
    try:
        item, value, _ = results[index]
        size = _size(item)
        if size is None:
            raise ValueError("original_width and original_height are missing")
        width, height = size
        if "rle" in value:
            return decode_brush(value["rle"], width, height)
        corners = [n for x, y in value["points"] for n in (x / 100 * width, y / 100 * height)]
        return draw_outline([corners], height, width)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise DataError(
            f"damaged outline in the task at byte {start}: {error}",
            where=path,
            fix="Correct it in Label Studio and export it again.",
        ) from None


@lru_cache(maxsize=1)
def _read_results(
    path: Path, start: int, length: int, state: tuple[int, int] | None
) -> list[_Result]:
    """Read a task once for all its outlines, which are usually asked for one after another.

    ``state`` is that of the file, so that a replaced one is read again.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            return _results(json.loads(file.read(length))) or []
    except (OSError, ValueError, AttributeError):
        raise changed_file(path) from None
