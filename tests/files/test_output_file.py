"""Files that can't be written are refused before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tag2mask.errors import RunFolderError
from tag2mask.files.output_file import check_output_file


def test_files_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.json").touch()
    for name in ("old.json", "new.json", "a/b/new.json", str(tmp_path / "x.json")):
        check_output_file(Path(name))
    assert list(Path().iterdir()) == [Path("old.json")]


def test_files_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=rf"a folder .* \[{tmp_path}\]\. Give the path of a f"):
        check_output_file(tmp_path)
    with pytest.raises(RunFolderError, match="a file is in the place of the folder"):
        check_output_file(tmp_path / "file/a.json")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunFolderError, match="no permission to write"):
        check_output_file(tmp_path / "a.json")
