"""Logs of rows: appended, read back, refused where a line is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.experiments.row_log import append_row, origin, read_rows


def test_rows_are_read_back_in_order(tmp_path: Path) -> None:
    log = tmp_path / "rows.jsonl"
    assert read_rows(log) == []
    append_row(log, {"key": "a", "photos": "649/200"})
    append_row(log, {"key": "ä"} | origin())
    first, second = read_rows(log)
    assert first == {"key": "a", "photos": "649/200"}
    assert second["key"] == "ä" and {"commit", "machine", "date"} < second.keys()


@pytest.mark.parametrize("line", ['{"key":', "[1]", "", "7"])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    log = tmp_path / "rows.jsonl"
    log.write_text(f'{{"key": "0"}}\n{line}\n{{"key": "1"}}\n')
    with pytest.raises(SystemExit, match="line 2 is no row; delete it"):
        read_rows(log)
