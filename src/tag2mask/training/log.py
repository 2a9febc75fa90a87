"""The log of a training: CSV files and TensorBoard events.

When a training is resumed, rows after the checkpoint are dropped from both, so that no step is
logged twice.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tag2mask.artifacts.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


VALIDATION = "validation.csv"


class TrainingLog:
    """Writes ``losses.csv`` and ``tensorboard/`` in a step's folder.

    Args:
        folder: the step's folder.
        columns: names of the metrics in a row, after ``step``.
        first_step: earlier rows are kept; rows from this step on are dropped.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.columns = columns
        path = folder / "losses.csv"
        kept = _rows_before(path, columns, first_step)
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([("step", *columns), *kept])
        self._file = path.open("a", newline="")
        self._csv = csv.writer(self._file)
        self._events: SummaryWriter = SummaryWriter(
            folder / "tensorboard", purge_step=first_step or None
        )
        self._hook = threading.excepthook
        threading.excepthook = self._on_thread_error

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one row; columns without a value stay empty."""
        cells = [f"{metrics[name]:.6g}" if name in metrics else "" for name in self.columns]
        self._csv.writerow([step, *cells])
        self._file.flush()
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
    kept = _rows_before(path, tuple(metrics), step)
    row = [str(step), *(f"{value:.6g}" for value in metrics.values())]
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([("step", *metrics), *kept, row])
    # NaN means photos without a labeled pixel; it is only better than no row at all.
    good, before = float(row[1]), [float(other[1]) for other in kept]
    return not before or (good == good and not any(other >= good for other in before))


def best_of_validation(folder: Path) -> float:
    """Return the largest value of the first metric in ``validation.csv``; NaN if there is none."""
    with (folder / VALIDATION).open(newline="") as file:
        metrics = [float(row[1]) for row in list(csv.reader(file))[1:]]
    return max((metric for metric in metrics if metric == metric), default=float("nan"))


def last_metrics(folder: Path) -> dict[str, float]:
    """Return the metrics of the last row of ``losses.csv``; empty if there is no readable row."""
    path = folder / "losses.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        names, *rows = list(csv.reader(file)) or [[]]
    if not rows or len(rows[-1]) != len(names):
        return {}
    try:
        return {
            name: float(cell) for name, cell in zip(names[1:], rows[-1][1:], strict=True) if cell
        }
    except ValueError:
        return {}


def _rows_before(path: Path, columns: tuple[str, ...], first_step: int) -> list[list[str]]:
    """Return the complete rows of an earlier session before the first step of this one."""
    if not path.is_file():
        return []
    # Damaged rows are dropped; they must not stop the training.
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != ["step", *columns]:
        return []
    width = len(columns) + 1
    complete = [row for row in rows[1:] if len(row) == width and row[0].isdecimal()]
    return [row for row in complete if int(row[0]) < first_step]
