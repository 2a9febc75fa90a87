"""Tables in Excel workbooks (``.xlsx``, ``.xlsm``), read with openpyxl.

A cell is the text that a person sees in it as far as that names something: whole numbers have no
``.0``, numbers that are shown with leading zeros keep them, formulas are their last values.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tag2mask.errors import DataError, PackageError, first_few
from tag2mask.files.regular_file import open_regular
from tag2mask.formats.tables.cell_table import CellTable, TableLine
from tag2mask.formats.text_files.readable import readable

EXCEL_SUFFIXES = frozenset({".xlsx", ".xlsm"})
_LARGEST_FILE, _LARGEST_CONTENT = 100 * 2**20, 200 * 2**20
"""Bytes of a workbook, and of all unpacked files in it; a cell takes about ten times its text."""
_OLD_FORMAT = bytes.fromhex("d0cf11e0a1b11ae1")
"""First bytes of ``.xls``, and of workbooks with a password."""
_SAVE = "Save it as .xlsx, or the sheet as .csv."


def read_excel_table(path: Path, sheet: str | None = None) -> CellTable:
    """Read the header and the rows of a sheet.

    The header is the first row with two texts; titles above it are skipped.

    Args:
        path: the workbook.
        sheet: its name; None: the only one that has a table.

    Raises:
        DataError: the workbook can't be read, the sheet is missing or empty, or it has merged cells
            or formulas without values.
        PackageError: openpyxl isn't installed.
    """
    _check_file(path)
    book, members = _load(path)
    chosen = _choose_sheet(book, sheet, path)
    rows = _rows(chosen)
    first = next((number for number, row in rows.items() if _is_table_row(row)), None)
    if first is None:
        raise DataError(f"sheet {chosen.title!r} has no table", where=path, fix="Give --sheet.")
    header = rows[first]
    count = len(header)
    _check_merged(chosen, first, count, path)
    _check_formulas(path, members[chosen.title], chosen.title, first, count)
    lines = [
        TableLine(number, (row + [""] * count)[:count] if not any(row[count:]) else row)
        for number, row in rows.items()
        if number > first
    ]
    return CellTable(path, f"{path.name} [{chosen.title}]", header, False, lines, "")


def _check_file(path: Path) -> None:
    """Check what can be known before a workbook is opened.

    Raises:
        DataError: it is missing, too large, of an old format, with a password, or damaged.
    """
    with readable(path):
        size = path.stat().st_size
        with open_regular(path) as file:
            start = file.read(len(_OLD_FORMAT))
    if start == _OLD_FORMAT:
        raise DataError(
            "the workbook has a password or is an old .xls file",
            where=path,
            fix=f"Remove the password in Excel (File > Info). {_SAVE}",
        )
    if size > _LARGEST_FILE:
        raise _too_large(f"{size / 2**20:.0f} MiB", path)
    try:
        with zipfile.ZipFile(path) as packed:
            # All of them: a sheet may have any name, and openpyxl unpacks pictures, too.
            content = sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        raise DataError("damaged, or no workbook", where=path, fix=_SAVE) from None
    if content > _LARGEST_CONTENT:
        raise _too_large(f"{content / 2**20:.0f} MiB unpacked", path)


def _too_large(size: str, path: Path) -> DataError:
    return DataError(
        f"the workbook is too large ({size})",
        where=path,
        fix="Save the one sheet that has the tags as .csv.",
    )


def _load(path: Path) -> tuple[Any, dict[str, str]]:
    """Open a workbook with its values; return it, and the file in it of each sheet.

    Raises:
        DataError: it is damaged.
        PackageError: openpyxl isn't installed.
    """
    try:
        from openpyxl.reader.excel import ExcelReader
    except ImportError:
        raise PackageError(
            "reading Excel workbooks needs openpyxl",
            fix="Install the extra excel: pip install '.[excel]' in the project's folder. Or save "
            "the sheet as .csv.",
        ) from None
    try:
        reader = ExcelReader(path, data_only=True, keep_links=False)
        reader.read()
        members = {sheet.name: rel.target for sheet, rel in reader.parser.find_sheets()}
    except Exception as error:  # openpyxl raises what its XML parser and its checks raise
        raise DataError(f"damaged, or no workbook ({error})", where=path, fix=_SAVE) from None
    return reader.wb, members


def _choose_sheet(book: Any, wanted: str | None, path: Path) -> Any:
    """Return the sheet of a name, or the only one with a table.

    Raises:
        DataError: there is none, or several.
    """
    names = [sheet.title for sheet in book.worksheets]
    if wanted is not None:
        if wanted not in names:
            raise DataError(
                f"no sheet {wanted!r}; there are {first_few(map(repr, names))}",
                where=path,
                fix="Correct --sheet.",
            )
        return book[wanted]
    tables = [sheet for sheet in book.worksheets if sheet.max_row > 1 and sheet.max_column > 1]
    if len(tables) != 1:
        shown = first_few(repr(sheet.title) for sheet in tables)
        raise DataError(
            f"several sheets have a table: {shown}" if tables else "no sheet has a table",
            where=path,
            fix="Choose one with --sheet." if tables else _SAVE,
        )
    return tables[0]


def _is_table_row(row: list[str]) -> bool:
    return sum(map(bool, row)) > 1


def _check_merged(sheet: Any, first: int, columns: int, path: Path) -> None:
    """Raise DataError where cells of the table are merged: only one row has their text."""
    merged = sorted(
        str(area)
        for area in sheet.merged_cells.ranges
        if area.max_row >= first and area.min_col <= columns
    )
    if merged:
        raise DataError(
            f"merged cells in sheet {sheet.title!r}: {first_few(merged)}",
            where=path,
            fix="Unmerge them, and write the text into each row.",
        )


def _check_formulas(path: Path, member: str, title: str, first: int, columns: int) -> None:
    """Raise DataError where formulas have no values: a program wrote them, and none computed.

    The values that openpyxl reads don't show that, and opening the workbook again for its formulas
    would take as long and as much memory as the first time.
    """
    from openpyxl.utils.cell import coordinate_to_tuple

    empty = []
    for name in _formulas_without_values(path, member):
        row, column = coordinate_to_tuple(name)
        if row >= first and column <= columns:
            empty.append(name)
    if empty:
        raise DataError(
            f"formulas without values in sheet {title!r}: {first_few(empty)}",
            where=path,
            fix="Open the workbook in Excel or LibreOffice and save it, which computes them.",
        )


def _formulas_without_values(path: Path, member: str) -> Iterator[str]:
    """Yield the cells of a sheet's file that have a formula and no value."""
    with zipfile.ZipFile(path) as packed, packed.open(member) as file:
        for _, element in ElementTree.iterparse(file):
            kind = element.tag.rpartition("}")[2]
            if kind == "c":
                inner = {child.tag.rpartition("}")[2]: child for child in element}
                value = inner.get("v")
                empty_text = element.get("t") == "str"  # a formula whose result is ""
                if "f" in inner and (value is None or not (value.text or empty_text)):
                    yield element.get("r", "A1")
            if kind == "row":  # its cells are not needed any more
                element.clear()


def _rows(sheet: Any) -> dict[int, list[str]]:
    """Return the texts of the rows that have any, by row number.

    A formatted cell at the far end of a sheet would make `iter_rows` create all cells before it.
    """
    rows: dict[int, list[str]] = {}
    for (number, column), cell in sorted(sheet._cells.items()):
        if text := _text(cell):
            row = rows.setdefault(number, [])
            row += [""] * (column - 1 - len(row)) + [text]
    return rows


def _text(cell: Any) -> str:
    """Return the text of a cell."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int):
        shown = cell.number_format
        return str(value).zfill(len(shown)) if re.fullmatch("0+", shown) else str(value)
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    return str(value).strip()
