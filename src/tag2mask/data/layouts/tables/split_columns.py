"""The split of a table's lines: the column ``split``, or what other tools call it.

``subset``, ``set`` and similar are read where their cells are splits, ``is_valid`` and ``is_test``
where they are true or false, and any column that has only names of splits: test photos must never
be trained on because of a column's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from tag2mask.data.layouts.splits import usual_split
from tag2mask.data.layouts.tables.flags import flag_of
from tag2mask.errors import DataError, first_few
from tag2mask.formats.tables.cell_table import CellTable, unquoted
from tag2mask.text.letters import letters_of

_NAMES = frozenset(
    {"subset", "subsets", "set", "splits", "datasplit", "partition", "fold", "folds", "kfold"}
    | {"cvfold", "splitname", "subsetname"}
)
"""Columns whose cells must be splits."""
_FLAGS = {
    **dict.fromkeys(("isvalid", "isval", "isvalidation", "val", "validation"), "val"),
    **dict.fromkeys(("istest", "test", "isholdout", "holdout"), "test"),
    **dict.fromkeys(("istrain", "istraining"), "train"),
}
"""Columns of true and false, and the split of the photos with true."""


class SplitColumns(NamedTuple):
    """The columns that hold a line's split: one of names, or some of true and false."""

    named: int | None = None
    verbatim: bool = False
    """The column ``split``, which may have names of its own."""
    flags: tuple[tuple[int, str], ...] = ()
    """Columns of true and false, and the split of the photos with true."""

    @property
    def columns(self) -> list[int]:
        """Return all columns."""
        return [index for index, _ in self.flags] if self.named is None else [self.named]

    def split_of(self, cells: Sequence[str]) -> str:
        """Return the split of a line by its cells; empty: it has none."""
        if self.named is not None:
            text = unquoted(cells[self.named])
            return text if self.verbatim else usual_split(text) or ""
        marked = {
            split if flag_of(unquoted(cells[index])) else _OTHER[split]
            for index, split in self.flags
        }
        return next((split for split in ("test", "val", "train") if split in marked), "")


_OTHER = {"val": "train", "test": "train", "train": "val"}
"""The split of the photos that don't have a flag."""


def find_split_columns(table: CellTable, used: Collection[int]) -> SplitColumns:
    """Find the columns of a table's splits.

    Args:
        table: the table.
        used: columns that hold something else.

    Raises:
        DataError: a column of splits has cells that are none, or there are several.
    """
    flags: list[tuple[int, str]] = []
    named: list[int] = []
    for index, name in enumerate(table.header):
        if index in used:
            continue
        letters = letters_of(name)
        cells = table.column(index)
        required = letters in _NAMES or (letters in _FLAGS and letters.startswith("is"))
        if letters in _FLAGS and None not in map(flag_of, cells):
            flags.append((index, _FLAGS[letters]))
        elif _holds_splits(cells, required=required):
            named.append(index)
        else:
            _check_no_splits(table, index, cells, required=required)
    found = [*named, *(index for index, _ in flags)]
    if len(named) > 1 or (named and flags):
        names = first_few([repr(table.header[index]) for index in found])
        raise DataError(
            f"the columns {names} may all be the split",
            where=table.path,
            fix="Rename the right one to `split`.",
        )
    return SplitColumns(named[0] if named else None, flags=tuple(flags))


def _holds_splits(cells: Iterable[str], *, required: bool) -> bool:
    """Return whether all cells are splits and, unless the column's name says so, not all train."""
    kinds = {usual_split(cell) for cell in cells}
    return bool(kinds) and None not in kinds and (required or kinds != {"train"})


def _check_no_splits(table: CellTable, index: int, cells: Counter[str], *, required: bool) -> None:
    """Raise DataError where a column is one of splits by its name or most cells, but has others."""
    kinds = {cell: usual_split(cell) for cell in cells}
    other = sum(cells[cell] for cell, kind in kinds.items() if kind is None)
    mostly = len({*kinds.values()} - {None}) > 1 and 2 * other < cells.total()
    if not cells or not (required or mostly):
        return
    cell, line = table.first(index, lambda text: usual_split(text) is None)
    raise DataError(
        f"column {table.header[index]!r} has {cell!r}, which is not a split ({line})",
        where=table.path,
        fix="Write train, val or test (of a cross-validation: val for one fold, train for the "
        "others); if it holds something else, rename the column, to `note` for example.",
    )
