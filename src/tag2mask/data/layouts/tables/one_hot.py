"""Tables with a column of 0 and 1 for each class, as Kaggle and Roboflow have them.

::

    image,scratch,dent
    a.jpg,1,0
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.tables.cells import Table, flag_of
from tag2mask.errors import DataError, first_few


class ClassColumns(NamedTuple):
    """Columns that are classes."""

    indices: tuple[int, ...]
    problems: tuple[DataProblem, ...]


def find_class_columns(table: Table, used: Collection[int]) -> ClassColumns:
    """Find the columns whose cells are 0 or 1 (or false or true), one per class.

    Args:
        table: the table.
        used: columns that hold something else.

    Raises:
        DataError: such a column has other cells, too.
    """
    found: list[int] = []
    gaps: list[str] = []
    zeros = False
    for index, name in enumerate(table.header):
        if index in used or not name or name.lower().startswith("unnamed"):
            continue
        cells = table.column(index)
        flags = {flag_of(cell) for cell in cells}
        if flags and None not in flags:
            found.append(index)
            zeros |= False in flags
            if cells.total() < len(table.lines):
                gaps.append(name)
        elif 2 * sum(cells[cell] for cell in cells if flag_of(cell) is None) <= cells.total() > 0:
            raise _neither(table, index)
    if not (gaps and zeros):  # ticks beside empty cells are complete
        return ClassColumns(tuple(found), ())
    message = (
        f"empty cells in columns of 0 and 1 count as 0: {first_few(map(repr, gaps))} "
        f"({table.name}); if they mean that nobody has looked, leave out the photo"
    )
    return ClassColumns(tuple(found), (DataProblem(message, warning=True),))


def _neither(table: Table, index: int) -> DataError:
    """Return the error of a column of 0 and 1 with another value."""
    cell, line = table.first(index, lambda text: flag_of(text) is None)
    return DataError(
        f"column {table.header[index]!r} has {cell!r}, which is neither 0 nor 1 ({line})",
        where=table.path,
        fix="Write 1 where the photo shows the class, else 0; remove the column if it is no class.",
    )
