"""A table as its file has it: a header, and lines of cells that are text.

Cells keep their quotes, which distinguish one name of two words from two names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_QUOTED_CELL = re.compile(r'"((?:[^"]|"")*)"')


class TableLine(NamedTuple):
    """A line of a table."""

    number: int
    cells: list[str] | None
    """As they are in the file; None: a quote is not closed."""


class CellTable(NamedTuple):
    """A table: its header and the lines that have any text."""

    path: Path
    name: str
    """Of the file, for messages."""
    header: list[str]
    """Names of the columns without quotes."""
    quotes_all: bool
    """Every text in the file is quoted, as some programs do, the header too."""
    lines: list[TableLine]
    separator: str
    """The character between cells; empty: a spreadsheet has none."""

    def cells(self, index: int) -> Iterator[str]:
        """Yield the cells of a column with their quotes."""
        for line in self.lines:
            if line.cells is not None and index < len(line.cells):
                yield line.cells[index]

    def column(self, index: int) -> Counter[str]:
        """Count the texts in a column's cells that aren't empty."""
        texts: Counter[str] = Counter()
        for cell, count in Counter(self.cells(index)).items():
            texts[unquoted(cell)] += count
        del texts[""]
        return texts

    def first(self, index: int, test: Callable[[str], bool]) -> tuple[str, str]:
        """Return the first text in a column that passes a test, and file and line of it."""
        return next(
            (unquoted(line.cells[index]), self.where(line))
            for line in self.lines
            if line.cells is not None and index < len(line.cells)
            if (text := unquoted(line.cells[index])) and test(text)
        )

    def where(self, line: TableLine) -> str:
        """Return file and line, for messages."""
        return f"{self.name} line {line.number}"


def unquoted(cell: str) -> str:
    """Return a cell's text without outer quotes and spaces."""
    cell = cell.strip()
    inner = inside_quotes(cell)
    return cell if inner is None else inner.strip()


def inside_quotes(cell: str) -> str | None:
    """Return the text of a cell that is quoted as a whole, else None."""
    outer = _QUOTED_CELL.fullmatch(cell) if cell.startswith('"') else None
    return outer[1].replace('""', '"') if outer else None


def without_empty_end(cells: list[str], least: int = 0) -> list[str]:
    """Return cells without empty ones at the end, but not fewer than ``least``."""
    end = len(cells)
    while end > max(least, 1) and not unquoted(cells[end - 1]):
        end -= 1
    return cells[:end]
