"""A table of any format, chosen by the file's suffix."""

from __future__ import annotations

from pathlib import Path

from tag2mask.errors import DataError
from tag2mask.formats.tables.cell_table import CellTable
from tag2mask.formats.tables.csv_table import read_csv_table
from tag2mask.formats.tables.excel_table import EXCEL_SUFFIXES, read_excel_table

_TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})


def read_table(path: Path, sheet: str | None = None, encoding: str | None = None) -> CellTable:
    """Read a table from an Excel workbook or from text.

    Args:
        path: the file.
        sheet: of a workbook; None: the only one that has a table.
        encoding: of a text; None: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        DataError: missing, empty, of another format, or it can't be read.
        PackageError: a package that reads the format isn't installed.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or not path.exists():
        raise DataError(
            "this is a folder, not a table" if path.is_dir() else "no such table",
            where=path,
            fix="Give a .xlsx or .csv file.",
        )
    if suffix in EXCEL_SUFFIXES:
        return read_excel_table(path, sheet)
    if suffix not in _TEXT_SUFFIXES:
        raise DataError(
            f"tables of the format {suffix or '(no suffix)'} are not read",
            where=path,
            fix="Save it as .xlsx or .csv.",
        )
    if sheet is not None:
        raise DataError("a text file has no sheets", where=path, fix="Leave out --sheet.")
    return read_csv_table(path, encoding=encoding)
