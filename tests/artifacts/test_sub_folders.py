"""Folders of very many files are split by the hash of the photo's id; others stay flat."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tag2mask.artifacts import sub_folders
from tag2mask.artifacts.items import item_path, named_path
from tag2mask.artifacts.sub_folders import (
    SUB_FOLDERS,
    decide_sub_folders,
    folder_of,
    has_sub_folders,
    use_sub_folders,
)
from tag2mask.errors import RunFolderError


@pytest.fixture
def of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of more than ten entries are split, into ones of about one."""
    monkeypatch.setattr(sub_folders, "MAX_ENTRIES", 10)
    monkeypatch.setattr(sub_folders, "_WANTED_ENTRIES", 1)


def ids(count: int, start: str = "") -> list[str]:
    return [f"{start}{number:06}" for number in range(count)]


@pytest.mark.parametrize(
    ("count", "digits"), [(100_000, 0), (100_001, 1), (200_000, 2), (1_000_000, 2)]
)
def test_how_many_sub_folders(tmp_path: Path, count: int, digits: int) -> None:
    assert decide_sub_folders(tmp_path, ids(count), begun=False) == digits
    assert (tmp_path / SUB_FOLDERS).exists() is (digits > 0)


def test_a_hundred_million_photos_keep_folders_small() -> None:
    most, digits = 100_000_000, 4
    assert most // 16**digits < sub_folders.MAX_ENTRIES and 16**digits < sub_folders.MAX_ENTRIES


@pytest.mark.usefixtures("of_ten")
def test_folders_of_the_data_count_by_themselves(tmp_path: Path) -> None:
    spread = [*ids(10, "a/"), *ids(10, "b/")]
    assert decide_sub_folders(tmp_path, spread, begun=False) == 0
    assert decide_sub_folders(tmp_path, [f"{name}/photo" for name in ids(10)], begun=False) == 0
    # A folder of folders has entries, too.
    assert decide_sub_folders(tmp_path, [f"x/{name}/photo" for name in ids(11)], begun=False) == 1


@pytest.mark.usefixtures("of_ten")
def test_files_are_placed_by_the_hash_of_the_id(tmp_path: Path) -> None:
    digits = decide_sub_folders(tmp_path, ids(300), begun=False)
    assert digits == 2 and has_sub_folders(tmp_path)
    for item in ("000007", "a/b.c", "é 1"):
        start = hashlib.sha256(item.encode()).hexdigest()[:2]
        assert item_path(tmp_path / "maps", item, ".npz") == tmp_path / f"maps/{start}/{item}.npz"
        assert named_path(tmp_path / "maps", item, ".npz") == tmp_path / f"maps/{item}.npz"
    with pytest.raises(RunFolderError, match="prepare --redo"):
        item_path(tmp_path / "maps", "../a", ".npz")


@pytest.mark.usefixtures("of_ten")
def test_what_was_begun_stays_as_it_is(tmp_path: Path) -> None:
    assert decide_sub_folders(tmp_path, ids(300), begun=True) == 0
    assert not (tmp_path / SUB_FOLDERS).exists()
    assert decide_sub_folders(tmp_path, ids(300), begun=False) == 2
    assert decide_sub_folders(tmp_path, ids(5), begun=False) == 2
    assert decide_sub_folders(tmp_path, ids(5), begun=True) == 2


def test_a_process_uses_what_another_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "infer-cam"
    step.mkdir()
    monkeypatch.chdir(tmp_path)
    use_sub_folders(step, 1)  # before the file system shows the record
    assert folder_of(Path("infer-cam/maps"), "a").parent == Path("infer-cam/maps")
    use_sub_folders(step, 0)
    assert folder_of(step / "maps", "a") == step / "maps"


@pytest.mark.parametrize("text", ["{}", '{"digits": "2"}', '{"digits": 9}', "[]", "{"])
def test_a_damaged_record_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / SUB_FOLDERS).write_text(text)
    with pytest.raises(RunFolderError, match=r"split\.json|not valid JSON"):
        folder_of(tmp_path / "maps", "a")


def test_the_record_says_what_the_sub_folders_are(tmp_path: Path) -> None:
    decide_sub_folders(tmp_path, ids(100_001), begun=False)
    assert json.loads((tmp_path / SUB_FOLDERS).read_text()) == {
        "digits": 1,
        "sub-folders": "first 1 hex digits of the sha256 of the photo's id",
    }
