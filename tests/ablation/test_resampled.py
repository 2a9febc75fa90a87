"""Tests of `tag2mask.ablation.resampled`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.ablation.resampled import _scored_photos
from tag2mask.errors import RunFolderError


def test_photos_with_counts_were_scored(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text('{"id": "a", "counts": {"SEAM": [[0, 0, 1]]}}\n{"id": "b", "counts": {}}\n')
    assert _scored_photos(tmp_path) == {"a"}


@pytest.mark.parametrize("line", ['{"counts": {}}', "[]", "{", '{"id": "../a", "counts": {}}'])
def test_damaged_rows_are_one_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "photos.jsonl").write_text(line)
    with pytest.raises(RunFolderError, match="missing or damaged"):
        _scored_photos(tmp_path)
