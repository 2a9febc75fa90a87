"""Tags of a cell: what separates them, names with spaces, quotes and lists."""

import pytest
from data_folders import write_tag_table
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.data.layouts.tables.lists import is_list, names_of_list
from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.data.layouts.tables.tags import find_style, tags_of_cell


def tags(cell, *others, one_name=False, quotes_all=False, known=()):
    """Return the tags of a cell in a table with other cells."""
    style = find_style([cell, *others], one_name=one_name, quotes_all=quotes_all, known=known)
    return tags_of_cell(cell, style).names


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", ()),
        ('""', ()),
        ("  ", ()),
        (";", ()),
        ("dog", ("dog",)),
        ("dog cat", ("dog", "cat")),
        ("dog;cat", ("dog", "cat")),
        ("dog|cat", ("dog", "cat")),
        (" dog ;  cat| bird ", ("dog", "cat", "bird")),
        ("dog dog", ("dog",)),
        ('"traffic light"', ("traffic light",)),
        ('"traffic light" dog', ("traffic light", "dog")),
        ('"traffic light";"stop sign"', ("traffic light", "stop sign")),
        ('"traffic light";car', ("traffic light", "car")),
        ('"traffic light" car;bus', ("traffic light", "car", "bus")),
        ('"""traffic light"" dog"', ("traffic light", "dog")),
        ('"dog;cat"', ("dog", "cat")),
        ('"dog, hot dog"', ("dog", "hot dog")),
        ('"dog,cat"', ("dog", "cat")),
        ('"dog\nhot dog"', ("dog", "hot dog")),
        ("猫、狗", ("猫", "狗")),
        ("猫，狗", ("猫", "狗")),
        ("狗；猫｜鸟", ("狗", "猫", "鸟")),
        ("traffic light;dog", ("traffic light", "dog")),
        ("dog;", ("dog",)),
        ("traffic light;", ("traffic light",)),
        ("traffic  light\xa0; dog", ("traffic light", "dog")),
        ("köpek 犬", ("köpek", "犬")),
        ("dent & scratch", ("dent", "scratch")),
        ("dent and scratch", ("dent", "scratch")),
        ("& dent", ("&", "dent")),
        ("no label", ("no label",)),
        ("n / a", ("n / a",)),
        ("- dog", ("-", "dog")),
    ],
)
def test_tags_of_a_cell(cell, expected):
    assert tags(cell) == expected


def test_what_separates_tags_is_decided_for_all_cells():
    assert tags("traffic light", "dog;cat") == ("traffic light",)
    assert tags("traffic light", '"dog, cat"') == ("traffic light",)
    assert tags("traffic light", "dog cat") == ("traffic", "light")
    assert tags("traffic light", '"a;b" c') == ("traffic", "light"), "the mark is part of a name"
    assert tags("traffic light", one_name=True) == ("traffic light",)
    assert tags("traffic light;dog", one_name=True) == ("traffic light", "dog")


def test_a_cell_quoted_as_a_whole_is_decided_by_the_header_or_the_classes():
    assert tags('"dog cat"') == ("dog cat",)
    assert tags('"dog cat"', quotes_all=True) == ("dog", "cat")
    assert tags('"dog cat"', known={"dog", "cat"}) == ("dog", "cat")
    assert tags('"hot dog"', known={"hot dog", "dog"}) == ("hot dog",)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("traffic light", ("traffic light",)),
        ("dog traffic light", ("dog", "traffic light")),
        ("traffic light dog cat", ("traffic light", "dog", "cat")),
        ("dog cat;", ("dog", "cat")),
        ('"chair, office"', ("chair, office",)),
        ("dog OK", ("dog", "OK")),
        ("dgo cat", ("dgo", "cat")),
        ("hot dog", ("hot dog",)),
        ("trafic light", ("trafic light",)),
        ("fire hydrant", ("fire hydrant",)),
    ],
)
def test_names_of_the_class_list_are_found_in_words(cell, expected):
    known = {"dog", "cat", "traffic light", "chair, office"}
    assert tags(cell, known=known) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('"[""cat""]"', ("cat",)),
        ('"[""cat"", ""hot dog""]"', ("cat", "hot dog")),
        ("['cat']", ("cat",)),
        ("\"['cat', 'hot dog']\"", ("cat", "hot dog")),
        ("['cat' 'hot dog']", ("cat", "hot dog")),
        ("\"['cat'\n 'dog']\"", ("cat", "dog")),
        ("\"('cat',)\"", ("cat",)),
        ("\"{'cat', 'dog'}\"", ("cat", "dog")),
        ('"{cat,""hot dog""}"', None),
        ('"{cat,dog}"', ("cat", "dog")),
        ("[cat]", ("cat",)),
        ("[]", ()),
        ('"[null, 3]"', ("null", "3")),
        ('"{""choices"": [""cat"", ""dog""]}"', ("cat", "dog")),
        ('"{""choices"": ""cat""}"', ("cat",)),
        ('"[{""label"": ""cat""}]"', None),
        ('"[[""cat""]]"', None),
        ("\"{'cat': 1}\"", None),
        ("['cat''dog']", None),
        ("(cat)", ("(cat)",)),
        ("[" * 5000 + "]" * 5000, None),
    ],
)
def test_lists_in_cells(cell, expected):
    if expected is None:
        with pytest.raises(ValueError, match="not a list"):
            tags(cell)
    else:
        assert tags(cell) == expected


def test_true_in_a_list_is_no_tag():
    with pytest.raises(ValueError, match="true is no name"):
        tags('"[true, ""cat""]"')


@given(st.lists(st.text(min_size=1).filter(str.strip), unique=True))
def test_lists_of_python_and_json_give_back_their_names(names):
    import json

    expected = [name.strip() for name in names]
    for text in (json.dumps(names), json.dumps(names, ensure_ascii=False)):
        assert is_list(text) and names_of_list(text) == expected
    plain = [name for name in names if name.isprintable() and "\\" not in name]
    assert names_of_list(repr(plain)) == [name.strip() for name in plain]


def test_a_list_of_something_else_is_an_error_with_its_line(tmp_path):
    write_tag_table(tmp_path, 'id,tags\na,"[{""label"": ""cat""}]"\nb,cat\n')
    table = read_tag_table(tmp_path / "tags.csv")
    [problem] = table.problems
    assert not problem.warning and "line 2" in problem.message
    assert "is not a list of names; write the names, separated by ';'" in problem.message
    assert [row.id for row in table.rows] == ["b"]
