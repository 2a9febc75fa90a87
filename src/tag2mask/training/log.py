"""The log of a training: CSV files and TensorBoard events.

When a training is resumed, rows after the checkpoint are dropped from both, so that no step is
logged twice.
"""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tag2mask.files.atomic import atomic_write
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.files.regular_file import SpecialFileError, open_regular
from tag2mask.text.csv_text import spreadsheet_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


LOSSES, VALIDATION = "losses.csv", "validation.csv"
_STEP = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"nan|-?inf|-?[0-9]{1,12}(?:\.[0-9]{1,20})?(?:e[+-][0-9]{1,3})?")


class TrainingLog:
    """Writes ``losses.csv`` and ``tensorboard/`` in a step's folder.

    Args:
        folder: the step's folder.
        columns: names of the metrics in a row, after ``step``.
        done: optimizer steps that are done; rows of later steps are dropped.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], done: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.columns = columns
        self._path, self._events_folder = folder / LOSSES, folder / "tensorboard"
        kept = _rows_until(self._path, columns, done)
        with atomic_write(self._path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([_head(columns), *kept])
        self._file = self._path.open("a", newline="")
        self._csv = csv.writer(self._file)
        # Before TensorBoard's thread starts, which writes at once.
        self._hook, threading.excepthook = threading.excepthook, self._on_thread_error
        try:
            with readable_os_errors(self._events_folder):
                self._events: SummaryWriter = SummaryWriter(
                    self._events_folder, purge_step=done + 1 if done else None
                )
        except BaseException:
            self._file.close()
            threading.excepthook = self._hook
            raise

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one row; columns without a value stay empty.

        Args:
            step: number of optimizer steps so far.
            metrics: values by column.

        Raises:
            RunFolderError: full disk, or another error of the system.
        """
        cells = [f"{metrics[name]:.6g}" if name in metrics else "" for name in self.columns]
        with readable_os_errors(self._path):
            self._csv.writerow([step, *cells])
            self._file.flush()
        with readable_os_errors(self._events_folder):
            for name, value in metrics.items():
                self._events.add_scalar(name, value, step)

    def _on_thread_error(self, failed: threading.ExceptHookArgs) -> None:
        """Ignore a full disk in TensorBoard's thread: the next row raises the same error here."""
        if type(failed.thread).__module__.startswith("tensorboard.") and isinstance(
            failed.exc_value, OSError
        ):
            return
        self._hook(failed)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            self._events.close()
        finally:
            threading.excepthook = self._hook


def write_validation(folder: Path, step: int, metrics: Mapping[str, float]) -> bool:
    """Write a row of ``validation.csv``, after dropping later rows of an interrupted training.

    Args:
        folder: the step's folder.
        step: number of optimizer steps so far.
        metrics: values by name, the same names in each call; the first one measures the quality of
            the network (higher is better).

    Returns:
        Whether this is the first row, or better than all earlier rows.
    """
    path = folder / VALIDATION
    kept = _rows_until(path, tuple(metrics), step - 1)
    row = [str(step), *(f"{value:.6g}" for value in metrics.values())]
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([_head(tuple(metrics)), *kept, row])
    # NaN means photos without a labeled pixel; it is only better than no row at all.
    good, before = float(row[1]), [float(other[1]) for other in kept if other[1]]
    return not before or (good == good and not any(other >= good for other in before))


def best_of_validation(folder: Path) -> float:
    """Return the largest value of the first metric in ``validation.csv``; NaN if there is none."""
    metrics = [
        float(row[1]) for row in numeric_rows(read_rows(folder / VALIDATION)) if any(row[1:2])
    ]
    return max((metric for metric in metrics if metric == metric), default=float("nan"))


def last_metrics(folder: Path) -> dict[str, float]:
    """Return the metrics of the last row of ``losses.csv``; empty if there is no readable row."""
    rows = read_rows(folder / LOSSES)
    last = numeric_rows(rows)[-1:]
    if not last or last[0] != rows[-1]:
        return {}
    cells = zip(rows[0][1:], last[0][1:], strict=True)
    return {name: float(cell) for name, cell in cells if cell}


def _head(columns: tuple[str, ...]) -> list[str]:
    """Return the first row; names of classes must be no formulas for a spreadsheet."""
    return ["step", *map(spreadsheet_text, columns)]


def _rows_until(path: Path, columns: tuple[str, ...], done: int) -> list[list[str]]:
    """Return the complete rows of an earlier session up to a number of optimizer steps."""
    rows = read_rows(path)
    if not rows or rows[0] != _head(columns):
        return []
    return [row for row in numeric_rows(rows) if int(row[0]) <= done]


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file; none where it is missing or not a CSV file."""
    try:
        with (
            open_regular(path) as content,
            TextIOWrapper(content, encoding="utf-8", errors="replace", newline="") as file,
        ):
            head = list(csv.reader(islice(file, 1)))  # names of classes may have commas
            return head + list(csv.reader(file, quoting=csv.QUOTE_NONE))  # a quote costs one row
    except (FileNotFoundError, SpecialFileError, csv.Error):
        return []


def numeric_rows(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows after the first that have a number, or nothing, in each of its columns.

    Damaged rows are dropped; they must not stop the training.
    """
    return [
        list(row)
        for row in rows[1:]
        if 0 < len(row) == len(rows[0])
        and _STEP.fullmatch(row[0])
        and all(not cell or _NUMBER.fullmatch(cell) for cell in row[1:])
    ]
