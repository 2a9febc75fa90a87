"""``photos.jsonl`` from the rows of several ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tag2mask.evaluation.photo_rows import PhotoRows

pytestmark = pytest.mark.smoke


def row(name: str, **other: object) -> dict[str, object]:
    return {"id": name, "miou": float("nan"), **other, "counts": {"SEAM": [[0, 0, 3]]}}


def test_rows_of_two_ranks_are_in_the_order_of_the_photos(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    with PhotoRows(path, 0, 2) as first, PhotoRows(path, 1, 2) as second:
        for rows, names in ((first, ["a", "c", "ä\u2028", "f"]), (second, ["b", "e"])):
            for name in names:
                rows.add(row(name))
            rows.flush()
        assert not path.exists(), "not before all rows have a score"
        scores = [[0.1, 0.2, 0.3], [0.4, 0.5, None]]
        first.write([[{"quality": score, "other": 1.0} for score in split] for split in scores])
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["id"] for line in found] == ["a", "b", "c", "ä\u2028", "e", "f"]
    assert [line["quality"] for line in found] == [0.1, 0.2, 0.3, 0.4, 0.5, None]
    assert {line["miou"] for line in found} == {None}
    assert list(found[0]) == ["id", "miou", "quality", "other", "counts"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text("earlier")
    with pytest.raises(ZeroDivisionError), PhotoRows(path, 0, 1) as rows:
        rows.add(row("a"))
        raise ZeroDivisionError
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]
