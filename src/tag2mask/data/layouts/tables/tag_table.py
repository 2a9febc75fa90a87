"""Tables of tags: one line per photo.

::

    image,tags,split,mask                  id,tags
    street/001.jpg,car person,train,       001,"traffic light" car
    street/002.jpg,traffic light;car,val,m/002.png    002,

The header has ``tags`` and ``id`` or ``image`` (or both), and may have ``split`` and ``mask``; see
`headers` for other names, `formats.csv_table` for other separators than the comma, and `tags` for
what separates several tags. There may be a column for each class instead (see `one_hot`), or one
that says whether a line's tag is shown (see `presence`). An empty cell of tags means background
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.ids import normalize_path, without_suffix
from tag2mask.data.layouts.tables.doubts import TaggedCell, tag_doubts
from tag2mask.data.layouts.tables.flags import flag_of
from tag2mask.data.layouts.tables.headers import Columns, find_columns
from tag2mask.data.layouts.tables.presence import split_pairs
from tag2mask.data.layouts.tables.rows import TagRow, join_rows
from tag2mask.data.layouts.tables.tags import COMMAS, TagStyle, find_style, tags_of_cell
from tag2mask.errors import counted
from tag2mask.formats.cell_table import CellTable, TableLine, unquoted
from tag2mask.formats.csv_table import read_csv_table


@dataclass(frozen=True)
class TagTable:
    """The usable rows of a table of tags, and the problems of the others."""

    rows: tuple[TagRow, ...]
    problems: tuple[DataProblem, ...]
    remarks: tuple[str, ...] = ()
    """How the table was understood (see `Inventory.remarks`)."""
    name: str = ""
    """The file, for messages."""
    guessed_tags: bool = False
    """No name of a column says that it has tags (see `Columns.guessed_tags`)."""


def read_tag_table(
    path: Path, known: Sequence[str] | None = None, name: str | None = None
) -> TagTable:
    """Read a table of tags.

    Args:
        path: the file.
        known: class names; they decide which words in a cell are one name.
        name: of the file, for messages; None: without its folder.

    Raises:
        DataError: unreadable, empty, or a header without the required columns.
    """
    table = split_pairs(read_csv_table(path, name))
    columns = find_columns(table)
    cells = (cell for index in columns.tags for cell in table.cells(index))
    style = find_style(
        cells, one_name=columns.one_name, quotes_all=table.quotes_all, known=known or ()
    )
    reader = _LineReader(table, columns, style)
    rows: list[TagRow] = []
    problems: list[DataProblem] = list(columns.problems)
    for line in table.lines:
        row = reader.read(line)
        if isinstance(row, DataProblem):
            problems.append(row)
        else:
            rows.append(row)
    if not known:
        problems += tag_doubts(reader.tagged)
    remarks = columns.remarks
    if any(len(tags.bare if style.by_spaces else tags.names) > 1 for _, tags in reader.tagged):
        remarks += (f"several tags in a cell are separated by {style.describe()}",)
    joined = join_rows(rows, may_be_empty=bool(columns.presence.columns))
    remarks += joined.remarks
    return TagTable(
        joined.rows, (*problems, *joined.problems), remarks, table.name, columns.guessed_tags
    )


class _LineReader:
    """Reads the lines of a table."""

    def __init__(self, table: CellTable, columns: Columns, style: TagStyle) -> None:
        self._table = table
        self._columns = columns
        self._style = style
        self.tagged: list[TaggedCell] = []
        """The cells of tags that were read."""

    def read(self, line: TableLine) -> TagRow | DataProblem:
        """Return a line's row, or why it can't be used."""
        where = self._table.where(line)
        if line.cells is None:
            return DataProblem(f"{where}: a quote is not closed")
        count, expected = len(line.cells), len(self._table.header)
        if not self._columns.required < count <= expected:
            fix = _advice(self._table.separator, more=count > expected)
            found = counted(count, "cell", "cells")
            return DataProblem(f"{where}: {found} where the header has {expected}; {fix}")
        cells = line.cells + [""] * (expected - count)
        paths = self._paths(cells, where)
        if isinstance(paths, DataProblem):
            return paths
        tags = self._tags(cells, where)
        if isinstance(tags, DataProblem):
            return tags
        return TagRow(
            id=without_suffix(paths["id"] if "id" in paths else paths["image"]),
            image=paths.get("image", ""),
            tags=tags,
            split=self._columns.split.split_of(cells),
            mask=paths.get("mask", ""),
            where=where,
        )

    def _paths(self, cells: Sequence[str], where: str) -> dict[str, str] | DataProblem:
        """Return a line's id and paths by column, or why one can't be used."""
        paths: dict[str, str] = {}
        columns = self._columns
        for name, index in (("id", columns.id), ("image", columns.image), ("mask", columns.mask)):
            if index is None:
                continue
            text = unquoted(cells[index])
            if text or name != "mask":
                paths[name], problem = normalize_path(text)
                if problem:
                    return DataProblem(f"{where}: {name} {text!r} {problem}")
        return paths

    def _tags(self, cells: Sequence[str], where: str) -> tuple[str, ...] | DataProblem:
        """Return a line's tags, or why they can't be used."""
        if not self._columns.presence.shows(cells):
            return ()
        names = [
            self._table.header[index]
            for index in self._columns.classes
            if flag_of(unquoted(cells[index]))
        ]
        for index in self._columns.tags:
            try:
                tags = tags_of_cell(cells[index], self._style)
            except ValueError:
                return DataProblem(
                    f"{where}: {unquoted(cells[index])[:60]!r} is not a list of names; write the "
                    "names, separated by ';'"
                )
            names += tags.names
            self.tagged.append(TaggedCell(where, tags))
        for name in names:
            if name in self._style.known:
                continue
            if any(comma in name for comma in COMMAS):
                fix = "separate tags by a space, ';' or '|'"
                return DataProblem(f"{where}: tag {name!r} contains a comma; {fix}")
            if UNPRINTABLE.search(name):
                what = "contains an unprintable character"
                return DataProblem(f"{where}: tag {name!r} {what}; remove it")
        return tuple(dict.fromkeys(names))


def _advice(separator: str, *, more: bool) -> str:
    """Return how to correct a line with more or fewer cells than the header."""
    mark = {",": "a comma", "\t": "a tab"}.get(separator, repr(separator))
    if not more:
        return f"write {mark} before each cell that is left empty, too"
    if separator == ",":
        return "separate several tags by a space, ';' or '|', not by a comma"
    return f"put several tags in quotes, since {mark} separates this table's cells"
