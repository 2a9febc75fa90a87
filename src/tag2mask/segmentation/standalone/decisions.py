"""Decisions: which classes a photo shows, by the rule in the record."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tag2mask.segmentation.standalone.files import open_itself, replaced
from tag2mask.segmentation.standalone.photos import Array

SEPARATOR, NO_CLASS = ";", "none"
"""Between the classes of a decision, and a decision without one."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet would evaluate, after any number of ``'``."""


def class_sums(labels: Array, confidence: Array, classes: int) -> tuple[Array, Array]:
    """Return the pixels of each class, and the sum of their confidences as bytes: (classes,)."""
    counts = np.bincount(labels.ravel(), minlength=classes + 1)[1 : classes + 1]
    sums = np.bincount(labels.ravel(), confidence.ravel(), classes + 1)[1 : classes + 1]
    return counts, sums


def calibrated(sums: Array, counts: Array, temperature: float) -> Array:
    """Return the mean confidence of pixels whose bytes have these sums; 0 where there are none."""
    means = np.clip(sums / np.maximum(255 * counts, 1), 1 / 512, 511 / 512)
    odds = np.log(means / (1 - means)) / temperature
    return np.where(counts > 0, 1 / (1 + np.exp(-odds)), 0.0)


class Decisions:
    """``decisions.csv``: one line for each mask that was written; the last one of a photo counts.

    With groups, ``group_decisions.csv`` has what the photos of each group show together.
    """

    def __init__(self, out: Path, names: Sequence[str], rule: Mapping[str, Any]) -> None:
        self.file, self._names, self.rule = out / "decisions.csv", names, rule
        self._group = re.compile(rule["group"]) if rule["group"] else None
        self._lock = threading.Lock()
        self._groups_are_old = True
        self._is_checked = False
        self._last: dict[str, str] | None = None

    def add(self, photo: str, time: str, labels: Array, confidence: Array) -> None:
        """Append the line of a photo whose mask was written at a time."""
        counts, sums = class_sums(labels, confidence, len(self._names))
        sure = calibrated(sums, counts, self.rule["temperature"])
        pairs = zip((counts / labels.size).tolist(), sure.tolist(), strict=True)
        rows = dict(zip(self._names, pairs, strict=True))
        known = self.rule["classes"]
        shown = [
            name
            for name, least in known.items()
            if rows[name][0] >= least["area"] and rows[name][1] >= least["confidence"]
        ]
        numbers = [format(value, ".6g") for name in known for value in rows[name]]
        heads = [f"{kind} {name}" for name in known for kind in ("area", "confidence")]
        texts = [spreadsheet_text(photo), spreadsheet_text(self.group_of(photo))]
        line = [*texts, time, _decision(shown), *numbers]
        with self._lock:
            self._remove_cut_line()
            self._append(csv_line(line), csv_line(["photo", "group", "time", "decision", *heads]))
            self._groups_are_old = True
            if self._last is not None:
                self._last[photo] = line[3]

    def _append(self, line: bytes, header: bytes) -> None:
        """Append a line, the first one after a header; if that fails, the file is as before."""
        with open_itself(self.file, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            line = line if end else header + line
            try:
                while line:  # a disk that is nearly full takes a part of it
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(end)
                raise

    def _remove_cut_line(self) -> None:
        """Remove a last line that a crash cut off, before the first use of the file.

        Not when this is made: tag2mask locks the folder after that.
        """
        if self._is_checked:
            return
        self._is_checked = True
        if not self.file.is_file():
            return
        with open_itself(self.file, "rb+") as file:
            for last in deque(file, maxlen=1):
                if not last.endswith(b"\n"):
                    file.truncate(file.tell() - len(last))
                    text = last[:200].decode("utf-8", "replace")
                    print(
                        f"{self.file}: removed a line that was cut off: {text!r}; if its "
                        "photo gets no other, delete its mask and run the same command again",
                        file=sys.stderr,
                    )

    def group_of(self, photo: str) -> str:
        """Return the group of a photo; empty where the data had no groups."""
        match = self._group.fullmatch(photo) if self._group else None
        return match.group(1) if match else ""

    def write_groups(self) -> None:
        """Write what the photos of each group show together, by their last lines."""
        if self._group is None or not self._groups_are_old or not self.file.is_file():
            return
        self._groups_are_old = False
        groups: dict[str, list[str]] = {}
        for photo, decision in self._last_decisions().items():
            groups.setdefault(self.group_of(photo) or photo, []).append(decision)
        lines = [csv_line(["group", "photos", "decision"])]
        for group, shown in sorted(groups.items()):
            written = {name for each in shown for name in each.split(SEPARATOR)} - {NO_CLASS}
            names = sorted(map(_without_mark, written))
            lines.append(csv_line([spreadsheet_text(group), len(shown), _decision(names)]))
        with replaced(self.file.with_name("group_decisions.csv")) as temporary:
            temporary.write_bytes(b"".join(lines))

    def _last_decisions(self) -> dict[str, str]:
        """Return the last decision of each photo; earlier calls' lines are read only once.

        No name has a line break. So a line with an odd number of quotes was cut off, and would hide
        those after it: earlier versions left such lines in the file.
        """
        with self._lock:
            if self._last is None:
                self._remove_cut_line()
                with self.file.open(encoding="utf-8", errors="replace", newline="") as file:
                    rows = csv.DictReader(line for line in file if line.count('"') % 2 == 0)
                    self._last = {
                        _without_mark(row["photo"]): row["decision"]
                        for row in rows
                        if row["decision"]
                    }
            return self._last


def spreadsheet_text(text: str) -> str:
    """Return a text for a cell: with a ``'`` in front if a spreadsheet would evaluate it.

    That of the package, which this file doesn't need, is `tag2mask.text.csv_text`.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _without_mark(cell: str) -> str:
    """Return the text of a cell of `spreadsheet_text`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def _decision(names: Sequence[str]) -> str:
    """Return classes as a decision; some spreadsheets begin a cell at each ``;``."""
    return SEPARATOR.join(map(spreadsheet_text, names)) or NO_CLASS


def csv_line(cells: Sequence[object]) -> bytes:
    """Return a line of a table as UTF-8."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()
