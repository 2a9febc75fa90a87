"""Tables of tags: one line per photo.

::

    image,tags,split,mask                  id,tags
    street/001.jpg,car person,train,       001,"traffic light" car
    street/002.jpg,"traffic light";car,val,m/002.png    002,

The header has ``tags`` and ``id`` or ``image`` (or both), and may have ``split`` and ``mask``; see
`headers` for other names and `cells` for other separators than the comma.
Several tags are separated by space, ``;`` or ``|``; a name with spaces is quoted. An empty cell of
tags means background only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.ids import normalize_path, without_suffix
from tag2mask.data.layouts.tables.cells import Table, TableLine, inside_quotes, read_table, unquoted
from tag2mask.data.layouts.tables.headers import Columns, find_columns

_TAG = re.compile(r'"([^"]*)"|[^\s;|"]+')


class TagRow(NamedTuple):
    """One line of a table; paths are normalized (see `normalize_path`), tags are split."""

    id: str
    image: str
    """Empty where the table has ids only."""
    tags: tuple[str, ...]
    split: str
    mask: str
    where: str
    """File and line, for messages."""


@dataclass(frozen=True)
class TagTable:
    """The usable rows of a table of tags, and the problems of the others."""

    rows: tuple[TagRow, ...]
    problems: tuple[DataProblem, ...]
    remarks: tuple[str, ...] = ()
    """How the table was understood (see `Inventory.remarks`)."""


class _Quoting(NamedTuple):
    """What decides whether a quoted cell of several words is one name."""

    every_cell: bool
    """The header is quoted, so the program that wrote the file quotes every cell."""
    known: frozenset[str]
    """Class names, if the data lists them."""


def read_tag_table(path: Path, known: Sequence[str] | None = None) -> TagTable:
    """Read a table of tags.

    Args:
        path: the file.
        known: class names; they decide whether a quoted cell of several words is one name.

    Raises:
        DataError: unreadable, empty, or a header without the required columns.
    """
    table = read_table(path)
    columns = find_columns(table)
    quoting = _Quoting(table.quotes_all, frozenset(known or ()))
    rows: list[TagRow] = []
    problems: list[DataProblem] = list(columns.problems)
    for line in table.lines:
        row = _parse_line(line, table, columns, quoting)
        if isinstance(row, DataProblem):
            problems.append(row)
        else:
            rows.append(row)
    return TagTable(tuple(rows), tuple(problems), columns.remarks)


def parse_tags(
    cell: str, *, whole_cell: bool = False, known: Collection[str] = ()
) -> tuple[str, ...]:
    """Split a cell of tags as it is in the file, quotes included.

    Args:
        cell: tags separated by space, ``;`` or ``|``; names with spaces in double quotes.
        whole_cell: every cell of the file is quoted, so outer quotes have no meaning.
        known: class names, if any: ``"dog cat"`` is two tags where ``dog`` and ``cat`` are known.

    Returns:
        The tags in their order, each once.
    """
    cell = cell.strip()
    inner = inside_quotes(cell)
    if inner is not None:
        words = inner.split()
        one_name = not (whole_cell or any(mark in inner for mark in ';|"'))
        if one_name and known and inner not in known and all(word in known for word in words):
            one_name = False
        if one_name:
            return (inner.strip(),) if words else ()
        cell = inner
    tags = (match[1] if match[1] is not None else match[0] for match in _TAG.finditer(cell))
    return tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))


def _parse_line(
    line: TableLine, table: Table, columns: Columns, quoting: _Quoting
) -> TagRow | DataProblem:
    """Return a line's row, or why it can't be used."""
    where = table.where(line)
    if line.cells is None:
        return DataProblem(f"{where}: a quote is not closed")
    count, expected = len(line.cells), len(table.header)
    required = max(i for i in (columns.image, columns.id, *columns.tags) if i is not None)
    if not required < count <= expected:
        fix = (
            "separate several tags by a space, ';' or '|', not by a comma"
            if count > expected
            else "write a comma before each cell that is left empty, too"
        )
        return DataProblem(f"{where}: {count} cells where the header has {expected}; {fix}")
    cells = line.cells + [""] * (expected - count)
    return _parse_cells(cells, columns, where, quoting)


def _parse_cells(
    cells: list[str], columns: Columns, where: str, quoting: _Quoting
) -> TagRow | DataProblem:
    """Return the row of a line's cells, or why its id, a path or a tag can't be used."""
    paths: dict[str, str] = {}
    for column, index in (("id", columns.id), ("image", columns.image), ("mask", columns.mask)):
        if index is None:
            continue
        text = unquoted(cells[index])
        if text or column != "mask":
            paths[column], problem = normalize_path(text)
            if problem:
                return DataProblem(f"{where}: {column} {text!r} {problem}")
    tags = tuple(
        dict.fromkeys(
            tag
            for index in columns.tags
            for tag in parse_tags(cells[index], whole_cell=quoting.every_cell, known=quoting.known)
        )
    )
    for tag in tags:
        if "," in tag and tag not in quoting.known:
            return DataProblem(
                f"{where}: tag {tag!r} contains a comma; separate tags by a space, ';' or '|'"
            )
    for tag in tags:
        if UNPRINTABLE.search(tag):
            return DataProblem(f"{where}: tag {tag!r} contains an unprintable character; remove it")
    return TagRow(
        id=without_suffix(paths["id"] if "id" in paths else paths["image"]),
        image=paths.get("image", ""),
        tags=tags,
        split="" if columns.split is None else unquoted(cells[columns.split]),
        mask=paths.get("mask", ""),
        where=where,
    )
