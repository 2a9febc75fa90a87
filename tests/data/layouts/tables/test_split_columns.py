"""Splits of a table's lines under the names that other tools give the column."""

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.csv_table import read_csv
from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.errors import DataError


def splits(tmp_path, header, cells):
    text = "".join(f"p{number},dog,{cell}\n" for number, cell in enumerate(cells))
    path = write_tag_table(tmp_path, f"id,tags,{header}\n{text}") / "tags.csv"
    table = read_tag_table(path)
    assert table.problems == ()
    return [row.split for row in table.rows]


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("split", ["train", "held out", "Test"], ["train", "held out", "Test"]),
        ("subset", ["train", "valid", "test"], ["train", "val", "test"]),
        ("Set", ["Training", "Validation", ""], ["train", "val", ""]),
        ("partition", ["train", "train"], ["train", "train"]),
        ("fold", ["train", "dev"], ["train", "val"]),
        ("Usage", ["Training", "PublicTest"], ["train", "test"]),
        ("note", ["train", "test"], ["train", "test"]),
        ("note", ["test", "test"], ["test", "test"]),
        ("note", ["train", "train"], ["", ""]),
        ("note", ["train", "by bus"], ["", ""]),
        ("subset", ["", ""], ["", ""]),
        ("is_valid", ["True", "False", ""], ["val", "train", "train"]),
        ("is_valid", ["1", "0"], ["val", "train"]),
        ("Is Test", ["WAHR", "FALSCH"], ["test", "train"]),
        ("is_train", ["true", "false"], ["train", "val"]),
        ("is_valid,is_test", ["1,0", "0,0", "0,1", "1,1"], ["val", "train", "test", "test"]),
        ("split,fold", ["train,3", "val,4"], ["train", "val"]),
    ],
)
def test_columns_of_splits(tmp_path, header, cells, expected):
    assert splits(tmp_path, header, cells) == expected


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("fold", ["0", "1"], "column 'fold' has '0', which is not a split (tags.csv line 2)"),
        ("subset", ["train", "B"], "'subset' has 'B', which is not a split (tags.csv line 3)"),
        ("note", ["train", "val", "tset"], "column 'note' has 'tset'"),
        ("is_valid", ["True", "maybe"], "column 'is_valid' has 'True'"),
        ("subset,usage", ["train,test"], "'subset', 'usage' may all be the split"),
        ("subset,is_valid", ["train,1"], "may all be the split"),
    ],
)
def test_splits_that_are_unknown(tmp_path, header, cells, message):
    with pytest.raises(DataError) as caught:
        splits(tmp_path, header, cells)
    assert message in str(caught.value)
    assert "ename" in str(caught.value)


def test_photos_for_tests_are_not_trained_on(tmp_path):
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    write_tag_table(tmp_path, "id,tags,subset\na,dog,train\nb,cat,test\nc,dog,valid\n")
    found = read_csv(tmp_path, SourceOptions())
    assert [(entry.id, entry.split) for entry in found.entries] == [("a", "train"), ("c", "val")]
    assert found.problems == () and "'subset' as split" in found.remarks[0]
