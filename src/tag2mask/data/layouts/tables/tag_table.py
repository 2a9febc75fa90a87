"""Tables of tags: one line per photo.

::

    image,tags,split,mask                  id,tags
    street/001.jpg,car person,train,       001,"traffic light" car
    street/002.jpg,traffic light;car,val,m/002.png    002,

The header has ``tags`` and ``id`` or ``image`` (or both), and may have ``split``, ``mask`` and
``group``; see `headers` for other names, `formats.tables` for separators other than the comma,
and `tags` for what separates several tags. There may be a column for each class instead (see
`one_hot`), or one that says whether a line's tag is shown (see `presence`). An empty cell of tags
means background only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.addresses import is_address
from tag2mask.data.layouts.ids import normalize_path, without_suffix
from tag2mask.data.layouts.tables.doubts import tag_doubts
from tag2mask.data.layouts.tables.headers import Columns, find_columns
from tag2mask.data.layouts.tables.lines import LineReader
from tag2mask.data.layouts.tables.presence import split_pairs
from tag2mask.data.layouts.tables.rows import TagRow, join_rows
from tag2mask.data.layouts.tables.tags import find_style
from tag2mask.errors import first_few
from tag2mask.formats.tables.cell_table import CellTable, TableLine, unquoted
from tag2mask.formats.tables.csv_table import read_csv_table


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
    reader = LineReader(table, columns, style)
    rows: list[TagRow] = []
    problems: list[DataProblem] = list(columns.problems)
    for line in table.lines:
        row = _row(reader, line)
        if isinstance(row, DataProblem):
            problems.append(row)
        else:
            rows.append(row)
    if not known:
        problems += tag_doubts(reader.tagged)
    if columns.one_name and not columns.presence.columns:
        problems += _empty_cells(table, columns, rows)
    remarks = columns.remarks + reader.remarks
    joined = join_rows(rows, may_be_empty=bool(columns.presence.columns))
    remarks += joined.remarks
    return TagTable(
        joined.rows, (*problems, *joined.problems), remarks, table.name, columns.guessed_tags
    )


def _empty_cells(table: CellTable, columns: Columns, rows: Sequence[TagRow]) -> list[DataProblem]:
    """Return a warning of lines without a name in a column of one name per line."""
    empty = [row.where for row in rows if not row.tags]
    if not columns.tags or not empty or len(empty) == len(rows):
        return []
    names = first_few([repr(table.header[index]) for index in columns.tags])
    message = (
        f"lines without {names} count as photos that show none of the classes "
        f"({first_few(empty, 3)}): leave out photos that nobody has labeled"
    )
    return [DataProblem(message, warning=True)]


def _row(reader: LineReader, line: TableLine) -> TagRow | DataProblem:
    """Return a line's row, or why it can't be used."""
    where, columns = reader.table.where(line), reader.columns
    cells = reader.cells(line)
    if isinstance(cells, DataProblem):
        return cells
    paths = _paths(columns, cells, where)
    if isinstance(paths, DataProblem):
        return paths
    tags = reader.tags(cells, where)
    if isinstance(tags, DataProblem):
        return tags
    group = "" if columns.group is None else unquoted(cells[columns.group])
    if UNPRINTABLE.search(group):
        return DataProblem(f"{where}: group {group!r} contains an unprintable character; remove it")
    return TagRow(
        id=without_suffix(paths["id"] if "id" in paths else paths["image"]),
        image=paths.get("image", ""),
        tags=tags,
        split=columns.split.split_of(cells),
        mask=paths.get("mask", ""),
        where=where,
        group=group,
    )


def _paths(columns: Columns, cells: Sequence[str], where: str) -> dict[str, str] | DataProblem:
    """Return a line's id and paths by column, or why one can't be used."""
    paths: dict[str, str] = {}
    for name, index in (("id", columns.id), ("image", columns.image), ("mask", columns.mask)):
        if index is None:
            continue
        text = unquoted(cells[index])
        if text or name != "mask":
            if name == "image" and is_address(text) and not UNPRINTABLE.search(text):
                paths[name] = text  # which photo it means is known once the files are
                continue
            paths[name], problem = normalize_path(text)
            if problem:
                return DataProblem(f"{where}: {name} {text!r} {problem}")
    return paths
