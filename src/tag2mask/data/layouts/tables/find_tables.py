"""Which tables of a data folder hold its tags: one, or one per split.

::

    DIR/tags.csv    or DIR/labels.csv    or DIR/train.csv, val.csv    or DIR/train/_classes.csv,
                                                                         DIR/valid/_classes.csv

Photos in a table inside of a split's folder are named by their paths there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.addresses import is_address
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.listing import subfolders
from tag2mask.data.layouts.splits import split_in_name, usual_split
from tag2mask.data.layouts.tables.rows import TagRow, join_rows
from tag2mask.data.layouts.tables.tag_table import TagTable, read_tag_table
from tag2mask.errors import DataError, first_few

TAG_TABLE = "tags.csv"
_SUFFIXES = (".csv", ".tsv")
_IN_FOLDERS = ("_classes.csv", "metadata.csv")


class FoundTable(NamedTuple):
    """A table of a data folder."""

    path: Path
    name: str
    """Relative to the data folder."""
    split: str
    """By its name or folder; empty: none."""


def find_tables(root: Path) -> list[FoundTable]:
    """Return the tables that may hold a data folder's tags; more than one per split is an error."""
    if (root / TAG_TABLE).is_file():
        return [FoundTable(root / TAG_TABLE, TAG_TABLE, "")]
    own = [FoundTable(path, path.name, split_in_name(path.stem)) for path in _tables_in(root)]
    if own:
        split = [table for table in own if table.split]
        return split if len({table.split for table in split}) > 1 else own
    found = []
    for folder in subfolders(root):
        if usual_split(folder) and _has_photos(root / folder):
            paths = _tables_in(root / folder)
            known = [path for path in paths if path.name in _IN_FOLDERS]
            found += [
                FoundTable(path, f"{folder}/{path.name}", usual_split(folder) or "")
                for path in known or paths
            ]
    return found


def read_tables(root: Path, known: Sequence[str] | None = None) -> TagTable:
    """Read a data folder's table of tags, or those of its splits as one.

    Args:
        root: the data folder.
        known: class names (see `read_tag_table`).

    Raises:
        DataError: there is none, several that aren't those of splits, or one can't be read.
    """
    found = find_tables(root)
    if not found:
        raise DataError(
            "no table of tags",
            where=root,
            fix=f"Put a {TAG_TABLE} there whose first line is `image,tags`.",
        )
    splits = {table.split for table in found}
    if len(splits) < len(found) or ("" in splits and len(found) > 1):
        raise DataError(
            f"several tables: {', '.join(table.name for table in found)}",
            where=root,
            fix=f"Name the one to be read {TAG_TABLE}.",
        )
    problems = _not_read(root, found)
    tables: list[TagTable] = []
    for table in sorted(found, key=lambda table: ("", "train", "val", "test").index(table.split)):
        try:
            tables.append(_read(table, known))
        except DataError as error:
            if table.split != "test" or len(found) == 1:
                raise
            message = f"{table.name} is not read: {error.what}"
            problems.append(DataProblem(message, warning=True))
    joined = join_rows([row for table in tables for row in table.rows])
    return TagTable(
        joined.rows,
        (*problems, *(p for table in tables for p in table.problems), *joined.problems),
        tuple(dict.fromkeys(r for table in tables for r in table.remarks)) + joined.remarks,
        ", ".join(table.name for table in tables),
        any(table.guessed_tags for table in tables),
    )


def _tables_in(folder: Path) -> list[Path]:
    """Return the tables in a folder, without those of predictions (``sample_submission.csv``)."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES
        if path.is_file() and not path.name.startswith(".") and not _is_submission(path)
    )


def _is_submission(path: Path) -> bool:
    return "submission" in path.stem.casefold()


def _has_photos(folder: Path) -> bool:
    """Return whether a folder has photos itself, not only folders of classes."""
    return any(without_suffix(path.name) != path.name for path in folder.iterdir())


def _not_read(root: Path, found: Sequence[FoundTable]) -> list[DataProblem]:
    """Return a warning of other tables next to those of the splits."""
    read = {table.path for table in found}
    other = [path.name for path in _tables_in(root) if path not in read]
    if not other or found[0].name == TAG_TABLE:
        return []
    message = f"tables that are not read, as others are named after splits: {first_few(other)}"
    return [DataProblem(message, warning=True)]


def _read(found: FoundTable, known: Sequence[str] | None) -> TagTable:
    """Read a table; its rows get its split and the paths below the data folder."""
    table = read_tag_table(found.path, known, found.name)
    folder = found.name.rpartition("/")[0]
    rows = tuple(
        _in_folder(row, folder)._replace(split=row.split or found.split) for row in table.rows
    )
    return replace(table, rows=rows)


def _in_folder(row: TagRow, folder: str) -> TagRow:
    """Return a row whose paths are below a folder."""
    if not folder:
        return row
    id, image, mask = (
        f"{folder}/{path}" if path and not is_address(path) else path
        for path in (row.id, row.image, row.mask)
    )
    return row._replace(id=id, image=image, mask=mask)
