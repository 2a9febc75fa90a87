"""Ids of items never lead out of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.artifacts.items import SkippedItems, checked_id, item_path
from tag2mask.artifacts.journal import recorded_items
from tag2mask.data.index import read_index, read_mask_rows
from tag2mask.errors import RunFolderError

OUTSIDE = ["../a", "a/../../b", "..", "/etc/a", "a\\..\\..\\b", "", "a\0b", "a\ud800", "a\nb"]


@pytest.mark.parametrize("item", OUTSIDE)
def test_ids_that_lead_outside_are_refused(item: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        checked_id(item)
    with pytest.raises(RunFolderError, match="prepare --redo"):
        item_path(Path("maps"), item, ".npz")


@pytest.mark.parametrize("item", ["a", "a/b.c", "..a/b", "a/...", "é 1"])
def test_other_ids_name_files_in_the_folder(item: str) -> None:
    assert item_path(Path("maps"), checked_id(item), ".npz") == Path(f"maps/{item}.npz")


def test_journals_and_indices_are_checked(tmp_path: Path) -> None:
    lines = [
        '{"id": "../../victim", "key": "x", "session": 0}',
        '{"id": "a", "key": "x", "session": 0}',
        '{"id": "b", "key": 1, "session": 0}',
        '{"id": "c", "key": "x", "session": Infinity}',
        '{"id": ["d"], "key": "x", "session": 0}',
        "[" * 100_000,
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(lines) + "\n")
    assert recorded_items(tmp_path) == {"a": "x"}
    (tmp_path / "source.json").write_text('{"root": "/data"}')
    row = '{"id": "../../victim", "image": "a.jpg", "size": [1, 1], "tags": [], "stamp": "1-1"}'
    (tmp_path / "train.jsonl").write_text(row + "\n")
    with pytest.raises(RunFolderError, match=r"train\.jsonl is damaged"):
        read_index(tmp_path, "train")
    (tmp_path / "masks.jsonl").write_text(
        '{"id": "../x", "mask": "m.png", "drawn": true, "stamp": "1-1"}\n'
    )
    with pytest.raises(RunFolderError, match=r"masks\.jsonl is damaged"):
        read_mask_rows(tmp_path)


def test_skipped_items_are_found_by_their_ids() -> None:
    skipped = SkippedItems(["b: cut off", "a: b: missing", "a/c: no permission"])
    assert "b" in skipped and "a/c" in skipped and "a: b" in skipped and "a" in skipped
    assert "c" not in skipped and "a/" not in skipped and "z" not in skipped
    assert "a" not in SkippedItems([])
