"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tag2mask.runtime.durations import format_duration
from tag2mask.text.escaping import visible

PLAIN_SECONDS = 10.0
"""Minimum time between two lines of progress without a terminal."""


class ProgressBar:
    """Progress of one step: count, rate, time left and a few figures.

    Args:
        total: number of items.
        description: shown before the counts.
        done: items that were finished before.
        silent: show nothing, as on ranks above 0.
        only_if_long: without a terminal, print no line if all is done before the first is due.
    """

    def __init__(
        self,
        total: int,
        description: str,
        *,
        done: int = 0,
        silent: bool = False,
        only_if_long: bool = False,
    ) -> None:
        self.total = total
        self.description = visible(description)
        self.done = done
        self._first = done
        self._started = time.monotonic()
        self._printed = self._started
        self._only_if_long = only_if_long
        self._rich: Progress | None = None
        self._plain = not silent and not sys.stderr.isatty()
        if not silent and sys.stderr.isatty():
            self._rich = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._rich.add_task(
                self.description, total=total, completed=done, figures=""
            )

    def __enter__(self) -> ProgressBar:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()
        elif self._plain and self.done == self.total and self.done > self._first:
            self._last_line()

    def advance(self, count: int = 1, figures: str = "") -> None:
        """Count finished items and show a few figures (losses, photos/s)."""
        self.done += count
        if self._rich is not None:
            self._rich.update(self._task, advance=count)
            if figures:
                self._rich.update(self._task, figures=figures)
        elif self._plain and self.done < self.total:
            now = time.monotonic()
            if now - self._printed >= PLAIN_SECONDS:
                self._printed = now
                self._line(figures)

    def _last_line(self) -> None:
        if self._printed > self._started or not self._only_if_long:
            self._line("")

    def _line(self, figures: str) -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (self.done - self._first) / seconds
        left = format_duration((self.total - self.done) / rate) if rate > 0 else "?"
        line = f"{self.description}: {self.done}/{self.total}, {rate:.2f}/s, {left} left"
        print(f"{line}  {figures}".rstrip(), file=sys.stderr, flush=True)
