"""Tables of tags: one line per photo, cells separated by commas.

::

    image,tags,split,mask                  id,tags
    street/001.jpg,car person,train,       001,"traffic light" car
    street/002.jpg,"traffic light";car,val,m/002.png    002,

The header has ``tags`` and ``id`` or ``image`` (or both), and may have ``split`` and ``mask``.
Several tags are separated by space, ``;`` or ``|``; a name with spaces is quoted. An empty cell of
tags means background only.

``csv.reader`` isn't used: it drops the quotes that distinguish one name of two words from two
names.
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
from tag2mask.data.layouts.listing import read_lines
from tag2mask.errors import DataError, first_few, nearest_hint

_COLUMNS = ("id", "image", "tags", "split", "mask")
_CELL = re.compile(r'((?:"(?:[^"]|"")*"|[^",])*)(,|$)')
_TAG = re.compile(r'"([^"]*)"|[^\s;|"]+')
_QUOTED_CELL = re.compile(r'"((?:[^"]|"")*)"')
_MIXED_SEPARATORS = re.compile(
    r"[^\s;|,]+ +[^\s;|,]+\s*[;|]|[;|]\s*[^\s;|,]+ +[^\s;|,]",
)


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
    lines = read_lines(path)
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    header = next(numbered, None)
    if header is None:
        raise DataError("the table is empty", where=path, fix="Its first line is `image,tags`.")
    columns = _columns(header[1], path)
    quoting = _Quoting(header[1].lstrip().startswith('"'), frozenset(known or ()))
    rows: list[TagRow] = []
    problems: list[DataProblem] = []
    mixed: list[str] = []
    for number, line in numbered:
        where = f"{path.name} line {number}"
        row = _parse_line(line, columns, where, quoting)
        if isinstance(row, DataProblem):
            problems.append(row)
            continue
        rows.append(row)
        if _mixes_separators(line, quoting.known, row.tags):
            mixed.append(where)
    if mixed:
        problems.append(
            DataProblem(
                f"{len(mixed)} lines separate tags both by spaces and by ';' or '|' "
                f"({first_few(mixed, 3)}): each word was read as a tag; "
                "quote names that contain spaces",
                warning=True,
            )
        )
    return TagTable(tuple(rows), tuple(problems))


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
    outer = _QUOTED_CELL.fullmatch(cell)
    if outer:
        inner = outer[1].replace('""', '"')
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
    line: str, columns: tuple[str, ...], where: str, quoting: _Quoting
) -> TagRow | DataProblem:
    """Return a line's row, or why it can't be used."""
    cells = _split_cells(line)
    if cells is None:
        return DataProblem(f"{where}: a quote is not closed")
    if len(cells) != len(columns):
        fix = (
            "separate several tags by a space, ';' or '|', not by a comma"
            if len(cells) > len(columns)
            else "write a comma before each cell that is left empty, too"
        )
        count = f"{len(cells)} cells where the header has {len(columns)}"
        return DataProblem(f"{where}: {count}; {fix}")
    return _parse_cells(dict(zip(columns, cells, strict=True)), where, quoting)


def _parse_cells(cells: dict[str, str], where: str, quoting: _Quoting) -> TagRow | DataProblem:
    """Return the row of a line's cells, or why its id, a path or a tag can't be used."""
    paths: dict[str, str] = {}
    for column in ("id", "image", "mask"):
        text = _unquoted(cells.get(column, ""))
        if text or (column in cells and column != "mask"):
            paths[column], problem = normalize_path(text)
            if problem:
                return DataProblem(f"{where}: {column} {text!r} {problem}")
    tags = parse_tags(cells["tags"], whole_cell=quoting.every_cell, known=quoting.known)
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
        split=_unquoted(cells.get("split", "")),
        mask=paths.get("mask", ""),
        where=where,
    )


def _columns(line: str, path: Path) -> tuple[str, ...]:
    """Return a header's column names in lower case; cells of other columns are not read.

    Raises:
        DataError: another separator than the comma, or a column is missing, repeated or misspelled.
    """
    cells = _split_cells(line) or []
    names = tuple(_unquoted(cell).lower() for cell in cells)
    for separator, shown in ((";", "';'"), ("\t", "tabs")):
        if len(names) == 1 and "tags" in names[0].split(separator):
            raise DataError(
                f"the cells are separated by {shown}", where=path, fix="Save the table with commas."
            )
    if "tags" not in names or not {"id", "image"} & set(names):
        wanted = "tags" if "tags" not in names else "image"
        raise DataError(
            f"the first line {line.strip()[:60]!r} is no header: it lacks "
            f"{'`tags`' if wanted == 'tags' else '`image` or `id`'}{nearest_hint(wanted, names)}",
            where=path,
            fix="Begin with a line `image,tags` or `id,tags`.",
        )
    repeated = sorted({name for name in names if names.count(name) > 1 and name in _COLUMNS})
    if repeated:
        raise DataError(
            f"the header has column {repeated[0]!r} twice",
            where=path,
            fix="Remove one of the two.",
        )
    for name in names:
        hint = "" if name in _COLUMNS else nearest_hint(name, ("split", "mask"))
        if hint:
            raise DataError(f"unknown column {name!r}{hint}", where=path, fix="Rename it.")
    return names


def _split_cells(line: str) -> list[str] | None:
    """Return the cells of a line with their quotes; None where a quote is not closed."""
    if '"' not in line:
        return line.split(",")
    cells: list[str] = []
    position = 0
    while True:
        match = _CELL.match(line, position)
        if match is None:
            return None
        cells.append(match[1])
        if not match[2]:
            return cells
        position = match.end()


def _unquoted(cell: str) -> str:
    """Return a cell's text without outer quotes and spaces."""
    cell = cell.strip()
    outer = _QUOTED_CELL.fullmatch(cell)
    return outer[1].replace('""', '"').strip() if outer else cell


def _mixes_separators(line: str, known: Collection[str], tags: tuple[str, ...]) -> bool:
    """Return whether a space between two words may have been meant as part of a name."""
    return (
        not known
        and len(tags) > 2
        and '"' not in line
        and _MIXED_SEPARATORS.search(line) is not None
    )
