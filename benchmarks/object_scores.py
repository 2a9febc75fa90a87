"""How many small objects are found, and how many parts of good photos are marked.

    python -m benchmarks.object_scores RUN [--stage predict] [--sizes 8 12 20 31]

Reads the masks of a step of RUN and the validation photos' true masks. mIoU hardly sees an object
of 16 px; here every object counts the same. An object is a connected region of one class in the
true mask, its size the long side of its bounding box. It is found if a connected part of its class
in the predicted mask has an IoU of at least 0.1 with it. Every part in a good photo, which shows no
object, is false. Neighbors touch at sides or corners; ignored pixels belong to nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from tag2mask.classes import IGNORE
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.data.masks import mask_path, read_mask

FOUND_IOU = 0.1
SIZES = (8, 12, 20, 31)
"""Edges of the groups of sizes, px; an object of 16 px is in the middle of the second one."""
TOUCHING = np.ones((3, 3), np.bool_)
Mask = NDArray[np.uint8]
Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class PhotoObjects:
    """The objects of one photo.

    Attributes:
        classes: mask id of each object.
        sizes: long side of each object's bounding box, px.
        found: whether each is found.
        parts: number of connected parts in the predicted mask.
        wrong_parts: how many of them touch no object of their class.
    """

    classes: tuple[int, ...]
    sizes: tuple[int, ...]
    found: tuple[bool, ...]
    parts: int
    wrong_parts: int


def compare_objects(predicted: Mask, truth: Mask, num_classes: int) -> PhotoObjects:
    """Compare a predicted mask with the true one, object by object.

    Args:
        predicted: mask ids, uint8 (h, w).
        truth: mask ids, uint8 (h, w); 255 is neither object nor part of the prediction.
        num_classes: foreground classes C.
    """
    predicted = np.where(truth == IGNORE, 0, predicted)
    classes: list[int] = []
    sizes: list[int] = []
    found: list[bool] = []
    parts = wrong_parts = 0
    for value in range(1, num_classes + 1):
        objects, count = label(truth == value, TOUCHING)
        marked, marks = label(predicted == value, TOUCHING)
        overlaps = _overlaps(objects, marked, count, marks)
        areas, marked_areas = _areas(objects, count), _areas(marked, marks)
        union = areas[:, None] + marked_areas[None] - overlaps
        classes += [value] * count
        sizes += [max(part.stop - part.start for part in box) for box in find_objects(objects)]
        enough: NDArray[np.bool_] = overlaps >= FOUND_IOU * union
        found += [bool(row.any()) for row in enough]
        parts += marks
        wrong_parts += int((~overlaps.any(axis=0)).sum())
    return PhotoObjects(tuple(classes), tuple(sizes), tuple(found), parts, wrong_parts)


def _overlaps(objects: Numbers, marked: Numbers, count: int, marks: int) -> NDArray[np.int64]:
    """Return the common pixels of each object and each part, (count, marks)."""
    both = (objects > 0) & (marked > 0)
    pairs = (objects[both].astype(np.int64) - 1) * marks + marked[both] - 1
    return np.bincount(pairs, minlength=count * marks).reshape(count, marks)


def _areas(numbered: Numbers, count: int) -> NDArray[np.int64]:
    return np.bincount(numbered.ravel(), minlength=count + 1)[1:]


def summary(
    photos: Iterable[PhotoObjects], names: Sequence[str], edges: Sequence[int] = SIZES
) -> dict[str, Any]:
    """Return recall by size and by class, and false parts; a rate of nothing is None.

    Args:
        photos: of the photos.
        names: the classes.
        edges: edges of the groups of sizes, px; the last one isn't in its group.
    """
    photos = list(photos)
    rows = [row for p in photos for row in zip(p.classes, p.sizes, p.found, strict=True)]
    good = [photo for photo in photos if not photo.classes]
    return {
        "objects": len(rows),
        "recall": _share(found for _, _, found in rows),
        "recall_by_size": {
            f"{low}-{high - 1} px": _share(found for _, size, found in rows if low <= size < high)
            for low, high in pairwise(edges)
        },
        "recall_by_class": {
            name: _share(found for value, _, found in rows if value == number)
            for number, name in enumerate(names, 1)
        },
        "good_photos": len(good),
        "false_parts_per_good_photo": _mean([photo.parts for photo in good]),
        "wrong_parts_per_other_photo": _mean([p.wrong_parts for p in photos if p.classes]),
    }


def _share(found: Iterable[bool]) -> float | None:
    return _mean([float(one) for one in found])


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def score_run(run: Path, stage: str = "predict", edges: Sequence[int] = SIZES) -> dict[str, Any]:
    """Return `summary` of the masks that a step of a run made of its validation photos."""
    prepared = run / "prepare"
    names, truths = read_classes(prepared).names, read_mask_paths(prepared)
    photos = (
        compare_objects(
            read_mask(mask_path(run / stage, sample.id), len(names)),
            read_mask(truths[sample.id], len(names)),
            len(names),
        )
        for sample in read_index(prepared, "val")
        if sample.id in truths
    )
    return summary(photos, names, edges)


def main() -> None:
    """Print the scores of a run as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--stage", choices=("predict", "pseudo-masks"), default="predict")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    print(json.dumps(score_run(options.run, options.stage, options.sizes), indent=2))


if __name__ == "__main__":
    main()
