"""Tables of tags: cells, quoting, separators and headers."""

import csv
import io

import pytest
from data_folders import write_tag_table
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.layouts.tables.tag_table import parse_tags, read_tag_table
from tag2mask.errors import DataError


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("", ()),
        ('""', ()),
        ("  ", ()),
        ("dog", ("dog",)),
        ("dog cat", ("dog", "cat")),
        ("dog;cat", ("dog", "cat")),
        ("dog|cat", ("dog", "cat")),
        (" dog ;  cat| bird ", ("dog", "cat", "bird")),
        ("dog dog", ("dog",)),
        ('"traffic light"', ("traffic light",)),
        ('"traffic light" dog', ("traffic light", "dog")),
        ('"traffic light";"stop sign"', ("traffic light", "stop sign")),
        ('"""traffic light"" dog"', ("traffic light", "dog")),
        ('"dog;cat"', ("dog", "cat")),
        ("köpek 犬", ("köpek", "犬")),
    ],
)
def test_tags_of_a_cell(cell, tags):
    assert parse_tags(cell) == tags


def test_a_cell_quoted_as_a_whole_is_decided_by_the_header_or_the_classes():
    assert parse_tags('"dog cat"') == ("dog cat",)
    assert parse_tags('"dog cat"', whole_cell=True) == ("dog", "cat")
    assert parse_tags('"dog cat"', known={"dog", "cat"}) == ("dog", "cat")
    assert parse_tags('"hot dog"', known={"hot dog", "dog"}) == ("hot dog",)


_word = st.text(st.sampled_from("abcXYZ019_-éß犬"), min_size=1, max_size=6)


_tag_name = st.lists(_word, min_size=1, max_size=2).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(
    tags=st.lists(_tag_name, max_size=4, unique=True),
    mark=st.sampled_from(" ;|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_tags_survive_any_writer_of_csv(tmp_path_factory, tags, mark, quoting):
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator="\n")
    writer.writerows([["id", "tags"], ["a", mark.join(f'"{t}"' if " " in t else t for t in tags)]])
    folder = write_tag_table(tmp_path_factory.mktemp("csv"), text.getvalue())
    table = read_tag_table(folder / "tags.csv")
    assert [row.tags for row in table.rows] == [tuple(tags)] and not table.problems


def test_byte_order_mark_crlf_and_capitals(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffID,Tags\r\na,dog\r\n".encode())
    assert read_tag_table(tmp_path / "t.csv").rows[0].tags == ("dog",)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "tags.csv").write_bytes("id,tags\na,köpek\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_tag_table(tmp_path / "tags.csv")
