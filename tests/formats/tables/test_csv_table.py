"""Tables as editors and spreadsheets save them: separators, encodings, empty cells and lines."""

import time

import pytest

from tag2mask.errors import DataError
from tag2mask.formats.tables.csv_table import read_csv_table, split_cells


def read(tmp_path, text, encoding="utf-8"):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    return read_csv_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image,tags\na.jpg,dog\n", "utf-8"),
        ("image,tags\r\na.jpg,dog\r\n", "utf-8-sig"),
        ("image;tags\na.jpg;dog\n", "utf-8"),
        ("image\ttags\na.jpg\tdog\n", "utf-16"),
        ("image|tags\na.jpg|dog\n", "utf-8"),
        ("sep=,\nimage,tags\na.jpg,dog\n", "utf-8"),
        ("sep=;\r\nimage;tags\r\na.jpg;dog\r\n", "utf-8-sig"),
        ('"sep=\t"\nimage\ttags\na.jpg\tdog\n', "utf-8"),
        ("\n,\nimage,tags\n\n,\na.jpg,dog\n,,\n", "utf-8"),
        ("image,tags,,\na.jpg,dog,,\n", "utf-8"),
        ("image,tags\na.jpg,dog,\n", "utf-8"),
    ],
)
def test_what_spreadsheets_save(tmp_path, text, encoding):
    table = read(tmp_path, text, encoding)
    assert table.header == ["image", "tags"]
    assert [line.cells for line in table.lines] == [["a.jpg", "dog"]]


@pytest.mark.parametrize(
    ("text", "quotes_all"),
    [
        ('"image","tags"\n"a.jpg","traffic light"\n', True),
        ('"image","tags","area"\n"a.jpg","dog",-1.5e3\n\n"b.jpg",NA,TRUE\n"c.jpg",,\n', True),
        ('"image";"tags"\n"a.jpg";"one\ntwo"\n', True),
        ('"image","tags"\na.jpg,"traffic light"\n', False),
        ('"image","tags"\n"a.jpg","traffic light"\n"b.jpg",dog\n', False),
        ('image,tags\n"a.jpg","traffic light"\n', False),
        ('"image",tags\n"a.jpg","traffic light"\n', False),
    ],
)
def test_programs_quote_every_text(tmp_path, text, quotes_all):
    assert read(tmp_path, text).quotes_all == quotes_all


def test_numbers_of_lines_are_those_of_the_file(tmp_path):
    table = read(tmp_path, "sep=,\n\nimage,tags\n\na.jpg,dog\n,\nb.jpg,cat\n")
    assert [line.number for line in table.lines] == [5, 7]


def test_a_decimal_comma_is_not_a_separator_where_semicolons_are(tmp_path):
    table = read(tmp_path, "image;tags;area\na.jpg;dog;0,95\n")
    assert table.lines[0].cells == ["a.jpg", "dog", "0,95"]


def test_a_line_break_inside_of_a_quoted_cell(tmp_path):
    table = read(tmp_path, 'image,remark,tags\na.jpg,"one\ntwo, three",dog\nb.jpg,,cat\n')
    assert [line.cells for line in table.lines] == [
        ["a.jpg", '"one\ntwo, three"', "dog"],
        ["b.jpg", "", "cat"],
    ]
    assert [line.number for line in table.lines] == [2, 4]


@pytest.mark.parametrize("text", ['a,"dog\nb,cat\n', 'a,"dog\nb,"cat"\nc,x"\n', 'a,5" x\nb,6" y\n'])
def test_a_quote_that_is_not_closed_takes_no_other_line(tmp_path, text):
    table = read(tmp_path, f"image,tags\n{text}")
    assert table.lines[0].cells is None
    assert len(table.lines) == text.count("\n")


def test_many_quotes_take_no_long_time():
    start = time.perf_counter()
    assert split_cells('"' + '""' * 20000 + 'x,"') == ['"' + '""' * 20000 + 'x,"']
    assert split_cells('a,"' + '""' * 20000) is None
    assert time.perf_counter() - start < 2


def test_text_of_another_encoding(tmp_path):
    with pytest.raises(DataError, match=r"UTF-8.*t\.csv"):
        read(tmp_path, "image,tags\na.jpg,köpek\n", "latin-1")
    with pytest.raises(DataError, match="UTF-8"):
        read(tmp_path, "image,tags\na.jpg,dog\n", "utf-16-le")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfea")
    with pytest.raises(DataError, match="UTF-8"):
        read_csv_table(tmp_path / "t.csv")
