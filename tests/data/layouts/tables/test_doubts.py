"""Warnings of tags that may have been meant otherwise."""

import pytest
from data_folders import write_tag_table

from tag2mask.data.layouts.tables.tag_table import read_tag_table


def warnings(tmp_path, cells, header="id,tags", known=None):
    text = "".join(f"p{number},{cell}\n" for number, cell in enumerate(cells))
    path = write_tag_table(tmp_path, f"{header}\n{text}") / "tags.csv"
    problems = read_tag_table(path, known).problems
    assert all(problem.warning for problem in problems)
    return [problem.message for problem in problems]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["traffic light", "dog", "traffic light"], "'traffic light' (tags.csv line 2"),
        (["fire hydrant", "traffic light"] * 2, "'fire hydrant', 'traffic light'"),
        (["stop sign ahead"] * 2 + ["dog"], "'stop sign ahead'"),
        (["traffic light", "traffic sign"] * 3, "'traffic light', 'traffic sign'"),
        (["hot dog", "dog"] * 3, "'hot dog'"),
        (["scratch/dent", "dog"], "may be several each were read as one class: 'scratch/dent'"),
        (["a & b;c", "dog"], "'a & b'"),
        (["dent+scratch", "dog"], "'dent+scratch'"),
        (["2x scratch", "dog"], "numbers were read as tags: '2x' (tags.csv line 2)"),
        (["scratch x2;dog"], "'scratch x2'"),
        (["3 scratch", "dog"], "'3'"),
        (["dent & scratch", "dent", "scratch"], "'&' were read as separators"),
        (
            ["cat:0.9", "dog"],
            "tags with a number were read as they are, number included: 'cat:0.9'",
        ),
        (["cat=0;dog=1", "dog"], "'cat=0', 'dog=1'"),
        (["dog cat", "dog;bird", "cat"], "consist of other tags were read as one class each"),
    ],
)
def test_doubtful_tags(tmp_path, cells, message):
    [warning] = warnings(tmp_path, cells)
    assert message in warning
    assert "';'" in warning or "quotes" in warning or "classes.txt" in warning


def test_a_name_of_other_tags_in_a_column_of_one_name(tmp_path):
    [warning] = warnings(tmp_path, ["dog cat", "dog", "cat"], "id,label")
    assert "'dog cat' (tags.csv line 2)" in warning


@pytest.mark.parametrize(
    "cells",
    [
        ["dog cat", "dog", "cat", "dog cat"],
        ["person horse", "horse person", "person", "horse"] * 3,
        ["traffic light;dog", "traffic light;"],
        ['"traffic light"'] * 3,
        ["\"['cat', 'hot dog']\""] * 3,
        ['"traffic light" car'] * 3,
        ["1", "2", "3 1"],
        ["1", "7up", "1 7up"],
        ["OK -", "OK -"],
        ["C++;dog", "n/a;dog"],
    ],
)
def test_plain_tags_are_not_doubtful(tmp_path, cells):
    assert warnings(tmp_path, cells) == []


@pytest.mark.parametrize("cell", ["traffic light", "scratch/dent", "2x scratch"])
def test_names_of_the_class_list_are_not_doubtful(tmp_path, cell):
    assert warnings(tmp_path, [cell] * 3, known=[cell, "dog"]) == []


def test_names_with_digits_are_no_scores(tmp_path):
    assert warnings(tmp_path, ["cat2", "class-2", "B-52", "audi_a4", "t:x", "e-scooter"]) == []
