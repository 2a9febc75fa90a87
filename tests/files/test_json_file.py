"""The project's own JSON files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tag2mask.errors import RunFolderError
from tag2mask.files.json_file import read_json, write_json


def test_json_is_plain(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.5, float("inf"), (1, 2)], "name": "é"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"x": [1.5, None, [1, 2]], "name": "é"}
    assert "é" in text
    with pytest.raises(RunFolderError, match=r"b\.json is missing"):
        read_json(tmp_path / "b.json")
