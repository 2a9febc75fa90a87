"""Tables with a column of 0 and 1 for each class."""

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.check import check_data
from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.errors import DataError


def read(tmp_path, text):
    return read_tag_table(write_tag_table(tmp_path, text) / "tags.csv")


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("image,dog,hot dog", ["1,0", "1,1", "0,0"]),
        ("filename, dog, hot dog", [" 1, 0", " 1, 1", " 0, 0"]),
        ("Image,dog,hot dog", ["True,False", "true,TRUE", "False,False"]),
        ("image,dog,hot dog", ["1.0,0.0", "1.0,1.0", "0.0,0.0"]),
        ("image,dog,hot dog", ["x,", "x,x", ","]),
        ("image,dog,hot dog,remark,area", ["1,0,ok,7", "1,1,,8", "0,0,,9"]),
        (",image,dog,hot dog,split", ["1,0,train", "1,1,val", "0,0,test"]),
    ],
)
def test_classes_are_columns(tmp_path, header, lines):
    number = "0," if header.startswith(",") else ""
    rows = "".join(f"{number}{name}.jpg,{line}\n" for name, line in zip("abc", lines, strict=True))
    table = read(tmp_path, f"{header}\n{rows}")
    assert [(row.id, row.tags) for row in table.rows] == [
        ("a", ("dog",)),
        ("b", ("dog", "hot dog")),
        ("c", ()),
    ]
    assert table.problems == ()
    assert "columns of 0 and 1 are classes: 'dog', 'hot dog'" in table.remarks
    if "split" in header:
        assert [row.split for row in table.rows] == ["train", "val", "test"]


def test_numbered_columns_of_0_and_1_are_classes(tmp_path):
    table = read(tmp_path, "image,class_0,class_1\na.jpg,1,0\nb.jpg,0,1\n")
    assert [row.tags for row in table.rows] == [("class_0",), ("class_1",)]


def test_one_column_of_0_and_1(tmp_path):
    table = read(tmp_path, "image,scratch\na.jpg,1\nb.jpg,0\n")
    assert [row.tags for row in table.rows] == [("scratch",), ()]


@pytest.mark.parametrize("value", ["-1", "2", "unknown", "0.7"])
def test_another_value_is_an_error_with_its_line(tmp_path, value):
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"image,dog,cat\na.jpg,1,0\nb.jpg,0,1\nc.jpg,{value},0\n")
    assert f"column 'dog' has {value!r}" in str(caught.value) and "line 4" in str(caught.value)


def test_empty_cells_beside_0_and_1_are_a_warning(tmp_path):
    [problem] = read(tmp_path, "image,dog,cat\na.jpg,1,0\nb.jpg,,1\n").problems
    assert problem.warning and "count as 0: 'dog' (tags.csv)" in problem.message


def test_columns_that_are_no_classes(tmp_path):
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    write_tag_table(tmp_path, "image,dog,background,cat\na.jpg,1,0,0\nb.jpg,0,1,0\nc.jpg,0,0,1\n")
    report = check_data(tmp_path)
    assert report.class_names == ("cat", "dog") and report.untagged == 1


def test_one_and_minus_one(tmp_path):
    with pytest.raises(DataError, match=r"column 'bald' has '-1', which is neither 0 nor 1"):
        read(tmp_path, "image,bald,hat\na.jpg,1,-1\nb.jpg,-1,1\n")
