"""Tables with a column of 0 and 1 for each class."""

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.checks.data_folder import check_data
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


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("gender", ["M", "F", "F"]),
        ("grade", ["A", "N", "T"]),
        ("gender", ["F", "F", ""]),
        ("grade", ["n", "n", "n"]),
    ],
)
def test_single_letters_with_others_are_not_flags(tmp_path, header, cells):
    rows = [f"{name}.jpg,dog,{cell}" for name, cell in zip("abc", cells, strict=True)]
    text = "\n".join([f"image,animal,{header}", *rows])
    with pytest.raises(DataError, match="lacks `tags`"):
        read(tmp_path, text)
    table = read(tmp_path, text.replace("animal", "tags"))
    assert [row.tags for row in table.rows] == [("dog",)] * 3


def test_yes_and_no_by_letters(tmp_path):
    table = read(tmp_path, "image,dog\na.jpg,Y\nb.jpg,N\n")
    assert [row.tags for row in table.rows] == [("dog",), ()]


def test_texts_next_to_one_column_of_0_and_1_are_an_error(tmp_path):
    rows = "a.jpg,cat,true\nb.jpg,dog,false\nc.jpg,cat,true\n"
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"image,animal,verified\n{rows}")
    assert "no column `tags`: 'animal' may have the classes, or 'verified'" in str(caught.value)
    assert "Rename 'animal' to `tags`, or remove it" in str(caught.value)
    rows = "a.jpg,2024-05-01,1,x.xml\nb.jpg,2024-05-01,0,y.xml\n"
    assert read(tmp_path, f"image,date,dent,boxes\n{rows}").problems == ()


def test_texts_next_to_several_columns_of_0_and_1_are_a_warning(tmp_path):
    text = "image,animal,verified,night\na.jpg,cat,1,0\nb.jpg,dog,1,1\nc.jpg,cat,0,1\n"
    [problem] = read(tmp_path, text).problems
    assert problem.warning and "'animal' of tags.csv is not read" in problem.message
    assert "rename it to `tags`" in problem.message


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


def test_empty_cells_next_to_0_and_1_are_a_warning(tmp_path):
    [problem] = read(tmp_path, "image,dog,cat\na.jpg,1,0\nb.jpg,,1\n").problems
    assert problem.warning and "count as 0: 'dog' (tags.csv)" in problem.message


def test_columns_that_are_not_classes(tmp_path):
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    write_tag_table(tmp_path, "image,dog,background,cat\na.jpg,1,0,0\nb.jpg,0,1,0\nc.jpg,0,0,1\n")
    report = check_data(tmp_path)
    assert report.class_names == ("cat", "dog") and report.untagged == 1


def test_one_and_minus_one(tmp_path):
    with pytest.raises(DataError, match=r"column 'bald' has '-1', which is neither 0 nor 1"):
        read(tmp_path, "image,bald,hat\na.jpg,1,-1\nb.jpg,-1,1\n")
