"""Tables with a column of 0 and 1 for each class, as Kaggle and Roboflow have them.

::

    image,scratch,dent
    a.jpg,1,0
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.ids import has_image_suffix
from tag2mask.data.layouts.splits import usual_split
from tag2mask.data.layouts.tables.flags import flag_of
from tag2mask.errors import DataError, first_few
from tag2mask.formats.tables.cell_table import CellTable

_LETTERS = frozenset("ynft")
"""Letters that mean true or false only as a pair: `F` with `M` means something else."""
_NUMBER = re.compile(r"[\W\d_]*(e[+-]?\d+)?", re.IGNORECASE)


class ClassColumns(NamedTuple):
    """Columns that are classes."""

    indices: tuple[int, ...]
    problems: tuple[DataProblem, ...]


def find_class_columns(table: CellTable, used: Collection[int]) -> ClassColumns:
    """Find the columns whose cells are 0 or 1 (or false or true), one per class.

    Args:
        table: the table.
        used: columns that hold something else.

    Raises:
        DataError: such a column has other cells, too; or there is one such column, and one of texts
            that may have the classes instead.
    """
    found: list[int] = []
    gaps: list[str] = []
    zeros = False
    for index, name in enumerate(table.header):
        if index in used or not name or name.lower().startswith("unnamed"):
            continue
        cells = table.column(index)
        flags = {flag_of(cell) for cell in cells}
        letters = {cell.lower() for cell in cells} & _LETTERS
        if letters and (None in flags or (flags == {False} and len(cells) == 1)):
            continue
        if flags and None not in flags:
            found.append(index)
            zeros |= False in flags
            if cells.total() < len(table.lines):
                gaps.append(name)
        elif 2 * sum(cells[cell] for cell in cells if flag_of(cell) is None) <= cells.total() > 0:
            raise _neither(table, index)
    problems = _unread_texts(table, found, used)
    if not (gaps and zeros):  # ticks and empty cells are complete
        return ClassColumns(tuple(found), problems)
    message = (
        f"empty cells in columns of 0 and 1 count as 0: {first_few(map(repr, gaps))} "
        f"({table.name}); if they mean that nobody has looked, leave out the photo"
    )
    return ClassColumns(tuple(found), (*problems, DataProblem(message, warning=True)))


def _unread_texts(
    table: CellTable, classes: Collection[int], used: Collection[int]
) -> tuple[DataProblem, ...]:
    """Return a warning of columns that may have the classes instead of the columns of 0 and 1.

    Raises:
        DataError: there is only one column of 0 and 1.
    """
    texts = [
        repr(name)
        for index, name in enumerate(table.header)
        if name and index not in (*classes, *used) and may_be_names(table, index)
    ]
    if not classes or not texts:
        return ()
    if len(classes) > 1:
        message = (
            f"{first_few(texts)} of {table.name} is not read, since columns of 0 and 1 are the "
            "classes; rename it to `tags` if it has them"
        )
        return (DataProblem(message, warning=True),)
    flags = table.header[next(iter(classes))]
    raise DataError(
        f"no column `tags`: {first_few(texts)} may have the classes, or {flags!r} is the only one",
        where=table.path,
        fix=f"Rename {texts[0]} to `tags`, or remove it if {flags!r} is the class.",
    )


def may_be_names(table: CellTable, index: int) -> bool:
    """Return whether a column may have names of classes: some are equal, none is something else."""
    cells = table.column(index)
    return any(count > 1 for count in cells.values()) and not any(
        _NUMBER.fullmatch(text) or usual_split(text) or has_image_suffix(text) for text in cells
    )


def _neither(table: CellTable, index: int) -> DataError:
    """Return the error of a column of 0 and 1 with another value."""
    cell, line = table.first(index, lambda text: flag_of(text) is None)
    return DataError(
        f"column {table.header[index]!r} has {cell!r}, which is neither 0 nor 1 ({line})",
        where=table.path,
        fix="Write 1 where the photo shows the class, else 0; remove the column if it is not a "
        "class.",
    )
