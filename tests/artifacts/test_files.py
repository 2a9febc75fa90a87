"""Files are written completely or not at all, and system errors become advice."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from tag2mask.artifacts.files import (
    atomic_write,
    digest,
    os_error_text,
    read_json,
    readable_os_errors,
    write_bytes,
    write_json,
)
from tag2mask.errors import RunFolderError


def test_atomic_write_replaces_completely_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "map.npz"
    write_bytes(target, b"old")

    def fail() -> None:
        with atomic_write(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == ".npz"
            temporary.write_bytes(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert target.read_bytes() == b"old"
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["map.npz"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
    ],
)
def test_system_errors_become_advice(tmp_path: Path, code: int, words: str) -> None:
    def fail() -> None:
        with atomic_write(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(RunFolderError, match=words) as caught:
        fail()
    assert str(tmp_path) in str(caught.value)
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(RunFolderError, match=r"a folder is in the place .*/a\.json\]") as caught:
        write_json(tmp_path / "a.json", {})
    assert ".tmp" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_real_full_disk_is_named() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is Linux only")

    def fail() -> None:
        with readable_os_errors(full), full.open("wb") as file:
            file.write(b"x")
            file.flush()

    with pytest.raises(RunFolderError, match="disk is full"):
        fail()


def test_json_is_plain(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.5, float("inf"), (1, 2)], "name": "é"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"x": [1.5, None, [1, 2]], "name": "é"}
    assert "é" in text
    with pytest.raises(RunFolderError, match=r"b\.json is missing"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EFBIG, "File too large", "a.npz"), r"\[a\.npz\].*ulimit -f"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), r"runtime\.workers"),
        (OSError(errno.EMFILE, "Too many open files"), r"ulimit -n"),
        (OSError(errno.ENOSPC, "No space left", b"events\xff"), r"full \[events.*\]\. Free"),
        (OSError(errno.ECHILD, "No child processes", "x"), r"^No child processes \[x\]$"),
    ],
)
def test_a_system_error_names_file_and_remedy(error: OSError, words: str) -> None:
    assert re.search(words, os_error_text(error)) and "b'" not in os_error_text(error)


def test_a_digest_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = digest(path)
    assert first == hashlib.sha256(b"one").hexdigest() == digest(path)
    write_bytes(path, b"two")
    assert digest(path) == hashlib.sha256(b"two").hexdigest()
