"""Tests of `tag2mask.report.photo_choice`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tag2mask.errors import RunFolderError
from tag2mask.report.photo_choice import every_photo_miou, photo_mious, pick_photos

ROW = {"id": "a", "split": "val", "miou": 0.5, "map_tags": ["cat"]}


def test_photos_and_their_scores(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    rows = [ROW, {**ROW, "id": "b", "miou": None}]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert every_photo_miou(path) == photo_mious(path, {("val", "a")}) == {("val", "a"): 0.5}
    assert photo_mious(path, {("val", "b"), ("train", "a")}) == {}
    assert [[photo.id for photo in photos] for _, photos in pick_photos(path, 1)] == [["a"], [], []]


@pytest.mark.parametrize(
    "changes", [{"id": "../a"}, {"miou": "x"}, {"evidence": 3}, {"quality": []}, {"map_tags": None}]
)
def test_damaged_rows_are_one_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "photos.jsonl"
    row = {**ROW, **changes}
    row = {key: value for key, value in row.items() if value is not None}
    path.write_text(json.dumps(row))
    for read in (lambda: pick_photos(path, 1), lambda: every_photo_miou(path)):
        with pytest.raises(RunFolderError, match="missing or damaged"):
            read()
