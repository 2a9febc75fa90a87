"""Logs of experiments: one row, a JSON object, per line, appended as each experiment ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import commit, machine

Row = dict[str, Any]


def read_rows(log: Path) -> list[Row]:
    """Return the rows of a log; none if there is no file.

    Raises:
        SystemExit: a line is damaged.
    """
    found = []
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise SystemExit(f"{log}: line {number} is no row; delete it")
        found.append(row)
    return found


def append_row(log: Path, row: Row) -> None:
    """Append a row to a log."""
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def origin() -> Row:
    """Return what a row says of its origin: commit, machine and date."""
    return {"commit": commit(), "machine": machine(), "date": time.strftime("%Y-%m-%d")}
