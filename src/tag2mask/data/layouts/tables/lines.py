"""Lines of a table: their cells, one per column, and their tags."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.tables.doubts import TaggedCell
from tag2mask.data.layouts.tables.flags import is_marked
from tag2mask.data.layouts.tables.headers import Columns
from tag2mask.data.layouts.tables.tags import COMMAS, TagStyle, tags_of_cell
from tag2mask.errors import counted
from tag2mask.formats.tables.cell_table import CellTable, TableLine, unquoted


class LineReader:
    """Reads the cells and tags of a table's lines.

    Args:
        table: the table.
        columns: what its columns hold.
        style: how a cell holds several tags.
    """

    def __init__(self, table: CellTable, columns: Columns, style: TagStyle) -> None:
        self.table = table
        self.columns = columns
        self._style = style
        self.tagged: list[TaggedCell] = []
        """The cells of tags that were read."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what separates tags, where a cell that was read has several."""
        by_spaces = self._style.by_spaces
        if any(len(tags.bare if by_spaces else tags.names) > 1 for _, tags in self.tagged):
            return (f"several tags in a cell are separated by {self._style.describe()}",)
        return ()

    def cells(self, line: TableLine) -> list[str] | DataProblem:
        """Return a line's cells, one per column, or why it can't be used."""
        where = self.table.where(line)
        if line.cells is None:
            return DataProblem(f"{where}: a quote is not closed")
        count, expected = len(line.cells), len(self.table.header)
        if not self.columns.required < count <= expected:
            fix = _advice(self.table.separator, more=count > expected)
            found = counted(count, "cell", "cells")
            return DataProblem(f"{where}: {found} where the header has {expected}; {fix}")
        return line.cells + [""] * (expected - count)

    def tags(self, cells: Sequence[str], where: str) -> tuple[str, ...] | DataProblem:
        """Return a line's tags, or why they can't be used."""
        if not self.columns.presence.shows(cells):
            return ()
        names = [
            self.table.header[index]
            for index in self.columns.classes
            if is_marked(unquoted(cells[index]))
        ]
        for index in self.columns.tags:
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
