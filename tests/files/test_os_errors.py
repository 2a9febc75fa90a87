"""Errors of the system say what to do."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from tag2mask.errors import RunFolderError
from tag2mask.files.atomic import atomic_write
from tag2mask.files.json_file import write_json
from tag2mask.files.os_errors import os_error_text, readable_os_errors


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
