"""Listing of photos: what can't be read is listed with its reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from watching import put

from tag2mask.segmentation.standalone.files import list_photos


def test_a_folder_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox"
    for name in ("closed/a.png", "closed.png", "open/b.png"):
        put(inbox / name, 1)
    scandir = os.scandir

    def refuse(folder: Path) -> Any:
        if folder.name in refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    refused = ["closed"]
    listed = list_photos([str(inbox)], tmp_path / "out")
    assert {(photo.path.name, photo.id): photo.problem for photo in listed} == {
        ("closed", "closed"): "it can't be read: Permission denied",
        ("closed.png", "closed"): "",
        ("b.png", "open/b"): "",
    }
    refused = ["inbox"]
    with pytest.raises(PermissionError):
        list_photos([str(inbox)], tmp_path / "out")


def test_a_link_to_a_folder_above_repeats_no_photo(tmp_path: Path) -> None:
    put(tmp_path / "inbox/sub/a.png", 1)
    (tmp_path / "inbox/sub/up").symlink_to("..")
    assert [photo.id for photo in list_photos([str(tmp_path / "inbox")], tmp_path / "out")] == [
        "sub/a"
    ]
