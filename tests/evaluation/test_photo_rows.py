"""``photos.jsonl`` from the rows of several ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tag2mask.errors import RunFolderError
from tag2mask.evaluation.photo_rows import (
    PhotoRows,
    photo_qualities,
    place_of,
    read_photo_rows,
    stage_counts,
)

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


def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text('{"id": "a", "split": "val"}\n{"id": "b"}\n')
    rows = read_photo_rows(path, place_of)
    assert next(rows) == ("val", "a")
    with pytest.raises(
        RunFolderError, match=r"photos\.jsonl is missing or damaged.*evaluate` again"
    ):
        next(rows)


def test_errors_of_the_caller_are_not_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text('{"id": "a"}\n')
    with pytest.raises(KeyError, match="no such attribute"):
        for row in read_photo_rows(path, dict):
            raise KeyError(f"no such attribute of {row['id']}")


def test_the_first_quality_score_that_a_photo_has(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text('{"id": "a", "x": 1, "y": 2}\n{"id": "b", "x": null, "y": 3}\n{"id": "c"}\n')
    assert photo_qualities(path, "x", "y") == {"a": 1.0, "b": 3.0}
    assert photo_qualities(path, "x") == {"a": 1.0}


DAMAGED = ["", "{", "[]", "{}", '{"id": ["a"], "split": "val"}', '{"id": "../a", "split": "val"}']


@pytest.mark.parametrize("line", DAMAGED)
def test_damaged_rows_are_one_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text(f"{line}\n")
    for read in (lambda: photo_qualities(path, "x"), lambda: [*read_photo_rows(path, place_of)]):
        with pytest.raises(RunFolderError, match="missing or damaged"):
            read()


@pytest.mark.parametrize("cells", ["x", [[0, 0]], [[0, 2, 1]], [[0, 0, -1]], [[0, 0, 10**30]], 3])
def test_damaged_counts_are_one_error(tmp_path: Path, cells: object) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text(json.dumps({"id": "a", "group": "a", "counts": {"SEAM": cells}}))
    with pytest.raises(RunFolderError, match="missing or damaged"):
        list(read_photo_rows(path, lambda row: stage_counts(row, 1)))
