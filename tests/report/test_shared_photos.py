"""Tests of `tag2mask.report.shared_photos`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tag2mask.errors import RunFolderError
from tag2mask.report.shared_photos import Rate, photo_tags, shared_scores

CLASSES = ("cat", "dog")
COUNTS = {"a": [[0, 0, 60], [1, 1, 30], [1, 2, 10]], "b": [[0, 0, 50], [2, 2, 40], [2, 0, 10]]}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "photos.jsonl"
    rows = [
        {
            "id": name,
            "split": "val",
            "group": name,
            "tags": [tag],
            "areas": areas,
            "counts": {"pseudo masks": COUNTS[name]},
        }
        | changes
        for name, tag, areas in (("a", "cat", {"cat": 0.3, "dog": 0.1}), ("b", "dog", {"cat": 0.2}))
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_photos_are_scored_as_they_were_evaluated(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert photo_tags(path) == {("val", "a"): ("cat",), ("val", "b"): ("dog",)}
    found = shared_scores(path, photo_tags(path), CLASSES, CLASSES)["val"]
    assert (found.photos, found.missed, found.alarms) == (2, Rate(1, 2), Rate(2, 2))
    iou = (110 / 120, 30 / 40, 40 / 60)
    assert found.miou == {"pseudo masks": pytest.approx(sum(iou) / 3)}
    assert found.resampled["val", "pseudo masks"].shape == (1000,)


def test_only_the_given_photos_count_with_the_given_tags(tmp_path: Path) -> None:
    path = write(tmp_path)
    found = shared_scores(path, {("val", "b"): ("cat",)}, CLASSES, CLASSES)["val"]
    assert (found.photos, found.missed, found.alarms) == (1, Rate(0, 1), Rate(0, 1))
    assert found.miou["pseudo masks"] == pytest.approx((50 / 60 + 40 / 50) / 2)
    assert shared_scores(path, {("train", "a"): ()}, CLASSES, CLASSES) == {}


def test_classes_that_are_not_shared_are_void_where_true_and_wrong_where_predicted(
    tmp_path: Path,
) -> None:
    path = write(tmp_path)
    found = shared_scores(path, photo_tags(path), CLASSES, ("cat",))["val"]
    assert found.miou["pseudo masks"] == pytest.approx((110 / 110 + 30 / 40) / 2)
    assert (found.missed, found.alarms) == (Rate(0, 1), Rate(1, 1))
    # Ids follow the order of a run's own classes.
    turned = shared_scores(path, photo_tags(path), ("dog", "cat"), CLASSES)["val"]
    assert turned.miou == shared_scores(path, photo_tags(path), CLASSES, CLASSES)["val"].miou


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {"x": [[0, 9, 1]]}},
        {"counts": {"x": [[0, -1, 1]]}},
        {"id": "../a"},
        {"areas": 3},
        {"areas": {"cat": "x"}},
    ],
)
def test_damaged_rows_are_one_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    tags = photo_tags(write(tmp_path))
    with pytest.raises(RunFolderError, match="missing or damaged"):
        shared_scores(write(tmp_path, **changes), tags, CLASSES, CLASSES)
