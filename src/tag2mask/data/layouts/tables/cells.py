"""Lines and cells of a table, as editors, spreadsheets and programs save them.

Cells are separated by commas, tabs, ``;`` or ``|``, whichever the header has; Excel's line
``sep=;`` says so, too. They keep their quotes, which distinguish one name of two words from two
names: that is why `csv.reader` isn't used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.layouts.listing import read_lines
from tag2mask.errors import DataError

_SEPARATORS = ",\t;|"
"""In the order in which they are looked for in the header."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r,;|\t]*', re.IGNORECASE)
_FLAGS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "t", "x", "wahr", "ja"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "f", "falsch", "nein"), False),
}
_QUOTED_CELL = re.compile(r'"((?:[^"]|"")*)"')
_LONGEST_CELL = 20
"""Lines that a quoted cell may have."""


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
    """The header is quoted, so the program that wrote the file quotes every cell."""
    lines: list[TableLine]
    separator: str
    """The character between cells."""

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


def read_table(path: Path, name: str | None = None) -> CellTable:
    """Read the header and the lines of a table.

    Args:
        path: the file.
        name: of the file, for messages; None: without its folder.

    Raises:
        DataError: it is empty, or it can't be read.
    """
    lines = read_lines(path)
    first = 0
    separator = _SEPARATOR_LINE.fullmatch(lines[0].lstrip()) if lines else None
    if separator:
        first = 1
    while first < len(lines) and _is_blank(lines[first], _SEPARATORS):
        first += 1
    if first == len(lines):
        raise DataError("the table is empty", where=path, fix="Its first line is `image,tags`.")
    header = lines[first]
    if "\0" in header:
        raise DataError("not UTF-8 text", where=path, fix="Save it as UTF-8.")
    mark = separator[1] if separator else _separator(header)
    names = _without_empty_end([unquoted(cell) for cell in split_cells(header, mark) or [header]])
    quotes_all = header.lstrip().startswith('"')
    cells = list(_lines(lines, first + 1, mark, len(names)))
    return CellTable(path, name or path.name, names, quotes_all, cells, mark)


def unquoted(cell: str) -> str:
    """Return a cell's text without outer quotes and spaces."""
    cell = cell.strip()
    inner = inside_quotes(cell)
    return cell if inner is None else inner.strip()


def flag_of(text: str) -> bool | None:
    """Return whether a cell says true (1, yes) or false; None: neither."""
    return _FLAGS.get(text.lower())


def inside_quotes(cell: str) -> str | None:
    """Return the text of a cell that is quoted as a whole, else None."""
    outer = _QUOTED_CELL.fullmatch(cell) if cell.startswith('"') else None
    return outer[1].replace('""', '"') if outer else None


def split_cells(line: str, separator: str = ",") -> list[str] | None:
    """Return the cells of a line with their quotes; None where a quote is not closed."""
    if '"' not in line:
        return line.split(separator)
    ends = [-1]
    quoted = False
    for position, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            ends.append(position)
    if quoted:
        return None
    return [line[start + 1 : end] for start, end in pairwise([*ends, len(line)])]


def _separator(header: str) -> str:
    """Return the character between the cells of a header."""
    for mark in _SEPARATORS:
        if len(split_cells(header, mark) or []) > 1:
            return mark
    return ","


def _lines(lines: list[str], first: int, separator: str, columns: int) -> Iterator[TableLine]:
    """Yield the lines from ``first`` on that have any text, each with its cells."""
    index = first
    while index < len(lines):
        cells = split_cells(lines[index], separator)
        count = 1
        if cells is None:
            cells, count = _cells_of_several_lines(lines, index, separator, columns)
        if cells is None or not _is_blank(lines[index], separator):
            yield TableLine(index + 1, _without_empty_end(cells, columns) if cells else None)
        index += count


def _cells_of_several_lines(
    lines: list[str], first: int, separator: str, columns: int
) -> tuple[list[str] | None, int]:
    """Return the cells of a line with a line break in a quoted cell, and its number of lines.

    Lines that have as many cells as the header are lines of their own: the quote is then a mistake.
    """
    for end in range(first + 2, min(first + 1 + _LONGEST_CELL, len(lines) + 1)):
        if len(split_cells(lines[end - 1], separator) or []) == columns:
            break
        cells = split_cells("\n".join(lines[first:end]), separator)
        if cells is not None:
            closed = all("\n" not in c or inside_quotes(c.strip()) is not None for c in cells)
            return (cells, end - first) if closed else (None, 1)
    return None, 1


def _is_blank(line: str, separators: str) -> bool:
    """Return whether no cell of a line has any text."""
    return not line.strip(f'{separators}" \t\r')


def _without_empty_end(cells: list[str], least: int = 0) -> list[str]:
    """Return cells without empty ones at the end, but not fewer than ``least``."""
    end = len(cells)
    while end > max(least, 1) and not unquoted(cells[end - 1]):
        end -= 1
    return cells[:end]
