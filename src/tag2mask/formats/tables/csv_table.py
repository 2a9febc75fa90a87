"""Tables as text (CSV), as editors, spreadsheets and programs save them.

Cells are separated by commas, tabs, ``;`` or ``|``, whichever the header has; Excel's line
``sep=;`` says so, too. They keep their quotes, which distinguish one name of two words from two
names: that is why `csv.reader` isn't used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

from tag2mask.errors import DataError
from tag2mask.formats.tables.cell_table import (
    CellTable,
    TableLine,
    inside_quotes,
    unquoted,
    without_empty_end,
)
from tag2mask.formats.text_files.text_lines import read_lines

_SEPARATORS = ",\t;|"
"""In the order in which they are looked for in the header."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r,;|\t]*', re.IGNORECASE)
_NO_TEXT = re.compile(r"[-+.\de]*|na|nan|null|none|true|false", re.IGNORECASE)
"""What programs that quote every text write without quotes."""
_LONGEST_CELL = 20
"""Lines that a quoted cell may have."""


def read_csv_table(path: Path, name: str | None = None, encoding: str | None = None) -> CellTable:
    """Read the header and the lines of a table.

    Args:
        path: the file.
        name: of the file, for messages; None: without its folder.
        encoding: Python's name of its encoding; None: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        DataError: it is empty, or it can't be read.
    """
    lines = read_lines(path, encoding)
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
    names = without_empty_end([unquoted(cell) for cell in split_cells(header, mark) or [header]])
    cells = list(_lines(lines, first + 1, mark, len(names)))
    rows = chain([split_cells(header, mark)], (line.cells for line in cells))
    quotes_all = all(_has_quotes(cell) for row in rows for cell in row or ())
    return CellTable(path, name or path.name, names, quotes_all, cells, mark)


def _has_quotes(cell: str) -> bool:
    """Return whether a cell is quoted, or needs no quotes in a file whose texts all have them."""
    cell = cell.strip()
    return cell.startswith('"') or _NO_TEXT.fullmatch(cell) is not None


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
            yield TableLine(index + 1, without_empty_end(cells, columns) if cells else None)
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
