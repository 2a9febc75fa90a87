"""Sheets of Excel workbooks as tables of texts, and workbooks that can't be read."""

import tracemalloc
import zipfile

import openpyxl
import pytest
from openpyxl.reader.excel import ExcelReader
from openpyxl.utils.exceptions import InvalidFileException

from tag2mask.errors import DataError
from tag2mask.formats.tables import excel_table
from tag2mask.formats.tables.table import read_table


def write(path, rows, **sheets):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for title, own in sheets.items():
        sheet = book.create_sheet(title)
        for row in own:
            sheet.append(row)
    book.save(path)
    return path


def test_texts_are_those_that_a_person_sees(tmp_path):
    path = write(
        tmp_path / "t.xlsx", [["part number", "defects", "area"], [4711003.0, " dent ", 1.5]]
    )
    book = openpyxl.load_workbook(path)
    book.active["A3"] = 47
    book.active["A3"].number_format = "0000000"
    book.active["B4"] = True
    book.active["C5"] = "beside"
    book.save(path)
    table = read_table(path)
    assert table.header == ["part number", "defects", "area"]
    assert [line.cells for line in table.lines] == [
        ["4711003", "dent", "1.5"],
        ["0000047", "", ""],
        ["", "True", ""],
        ["", "", "beside"],
    ]
    assert table.where(table.lines[1]) == "t.xlsx [Sheet] line 3"


def test_a_title_and_empty_rows_are_passed_over(tmp_path):
    rows = [["Inspection 2026"], [], ["image", "tags"], [], ["a.jpg", "dog"]]
    table = read_table(write(tmp_path / "t.xlsx", rows))
    assert table.header == ["image", "tags"]
    assert [(line.number, line.cells) for line in table.lines] == [(5, ["a.jpg", "dog"])]


def test_a_formatted_cell_far_from_the_table_costs_no_memory(tmp_path):
    path = write(tmp_path / "t.xlsx", [["image", "tags"], ["a.jpg", "dog"]])
    book = openpyxl.load_workbook(path)
    book.active.cell(3000, 100).font = openpyxl.styles.Font(bold=True)
    book.save(path)
    tracemalloc.start()
    table = read_table(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [line.cells for line in table.lines] == [["a.jpg", "dog"]]
    assert peak < 10e6


def test_the_sheet_is_chosen(tmp_path):
    rows = [["image", "tags"], ["a.jpg", "dog"]]
    assert read_table(write(tmp_path / "one.xlsx", [], Parts=rows)).header == ["image", "tags"]
    path = write(tmp_path / "t.xlsx", rows, Legend=[["code", "name"], ["1", "dent"]])
    assert read_table(path, "Legend").header == ["code", "name"]
    with pytest.raises(DataError, match=r"several sheets have a table: 'Sheet', 'Legend'.*--sheet"):
        read_table(path)
    with pytest.raises(DataError, match="no sheet 'Teile'; there are 'Sheet', 'Legend'"):
        read_table(path, "Teile")
    with pytest.raises(DataError, match="no sheet has a table"):
        read_table(write(tmp_path / "empty.xlsx", []))


def test_merged_cells_are_an_error_in_the_table_only(tmp_path):
    path = write(tmp_path / "t.xlsx", [["Title"], ["image", "tags"], ["a.jpg", "dog"], ["b.jpg"]])
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A1:B1")
    book.save(path)
    assert len(read_table(path).lines) == 2
    book.active.merge_cells("B3:B4")
    book.save(path)
    with pytest.raises(DataError, match=r"merged cells in sheet 'Sheet': B3:B4 .*Unmerge"):
        read_table(path)


def test_formulas_with_values_are_read_and_the_workbook_is_opened_once(tmp_path, monkeypatch):
    path = write(tmp_path / "t.xlsx", [["image", "tags"], ["a.jpg", "=1+1"], ["b.jpg", '=""']])
    with zipfile.ZipFile(path) as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    sheet = content["xl/worksheets/sheet1.xml"].decode()
    sheet = sheet.replace("<f>1+1</f><v />", "<f>1+1</f><v>2</v>")
    sheet = sheet.replace('<c r="B3"><f>""</f><v />', '<c r="B3" t="str"><f>""</f><v></v>')
    content["xl/worksheets/sheet1.xml"] = sheet.encode()
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    opened = []
    read = ExcelReader.read
    monkeypatch.setattr(ExcelReader, "read", lambda self: (opened.append(1), read(self)))
    assert [line.cells for line in read_table(path).lines] == [["a.jpg", "2"], ["b.jpg", ""]]
    assert opened == [1]


def test_formulas_without_values_are_an_error(tmp_path):
    path = write(tmp_path / "t.xlsx", [["image", "tags"], ["a.jpg", '=IF(1,"dog","")']])
    with pytest.raises(DataError, match=r"formulas without values in sheet 'Sheet': B2.*save it"):
        read_table(path)


def test_files_that_are_no_readable_workbook(tmp_path, monkeypatch):
    path = tmp_path / "t.xlsx"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 100)
    with pytest.raises(DataError, match="password"):
        read_table(path)
    path.write_bytes(b"PK\3\4 cut off")
    with pytest.raises(DataError, match="damaged, or no workbook"):
        read_table(path)
    with pytest.raises(DataError, match="no such table"):
        read_table(tmp_path / "gone.xlsx")
    with pytest.raises(DataError, match="a folder, not a table"):
        read_table(tmp_path)
    for name in ("t.xls", "t.ods", "t"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(DataError, match=r"are not read .*Save it as \.xlsx or \.csv"):
            read_table(tmp_path / name)
    (tmp_path / "t.csv").write_text("image,tags\n")
    with pytest.raises(DataError, match="no sheets"):
        read_table(tmp_path / "t.csv", "Sheet")
    write(path, [["image", "tags"], ["a.jpg", "dog"]])
    monkeypatch.setattr(excel_table, "_LARGEST_CONTENT", 1000)
    with pytest.raises(DataError, match="too large"):
        read_table(path)
    monkeypatch.setattr(excel_table, "_LARGEST_FILE", 1000)
    with pytest.raises(DataError, match=r"too large.*\.csv"):
        read_table(path)


@pytest.mark.parametrize("padded", ["[Content_Types].xml", "xl/worksheets/sheet1.dat"])
def test_every_unpacked_file_counts(tmp_path, monkeypatch, padded):
    path = write(tmp_path / "t.xlsx", [["image", "tags"], ["a.jpg", "dog"]])
    assert len(read_table(path).lines) == 1
    with zipfile.ZipFile(path) as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    old, new = "xl/worksheets/sheet1.xml", "xl/worksheets/sheet1.dat"
    content[new] = content.pop(old)
    for name, data in content.items():
        content[name] = data.replace(b"worksheets/sheet1.xml", b"worksheets/sheet1.dat")
    content[padded] = content[padded].replace(b"><", b">" + b" " * 10**6 + b"<", 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    assert len(read_table(path).lines) == 1 and path.stat().st_size < 20_000
    monkeypatch.setattr(excel_table, "_LARGEST_CONTENT", 10**6)
    with pytest.raises(DataError, match=r"too large \(1 MiB unpacked\).*\.csv"):
        read_table(path)


def test_what_openpyxl_rejects_is_one_message(tmp_path, monkeypatch):
    path = write(tmp_path / "t.xlsx", [["image", "tags"], ["a.jpg", "dog"]])

    def fail(*_args, **_more):
        raise InvalidFileException("bad style")

    monkeypatch.setattr(ExcelReader, "read", fail)
    with pytest.raises(DataError, match=r"damaged, or no workbook \(bad style\)"):
        read_table(path)
