"""Tables of tags: one line per photo."""

import csv
import io

import pytest
from data_folders import write_tag_table
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.layouts.tables.tag_table import read_tag_table

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
    assert [row.tags for row in table.rows] == [tuple(tags)]
    assert all(problem.warning for problem in table.problems)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("image;tags\na.jpg;dog;cat\n", "put several tags in quotes, since ';' separates this"),
        ("image\ttags\na.jpg\tdog\tcat\n", "in quotes, since a tab separates"),
        ("image,tags\na.jpg,dog,cat\n", "by a space, ';' or '|', not by a comma"),
        ("image;tags\na.jpg\n", "write ';' before each cell that is left empty"),
    ],
)
def test_advice_on_numbers_of_cells_names_the_tables_separator(tmp_path, text, advice):
    path = write_tag_table(tmp_path, text) / "tags.csv"
    [problem] = read_tag_table(path).problems
    assert advice in problem.message
    write_tag_table(tmp_path, text.replace("dog;cat", '"dog;cat"'))
    if '"' in path.read_text():
        assert read_tag_table(path).rows[0].tags == ("dog", "cat")


def test_byte_order_mark_crlf_and_capitals(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffID,Tags\r\na,dog\r\n".encode())
    assert read_tag_table(tmp_path / "t.csv").rows[0].tags == ("dog",)


def test_empty_cells_in_a_column_of_one_name_are_a_warning(tmp_path):
    lines = "a.jpg,dog\nb.jpg,\nc.jpg,cat\n"
    path = write_tag_table(tmp_path, f"image,label\n{lines}") / "tags.csv"
    [problem] = read_tag_table(path).problems
    assert problem.warning and "lines without 'label' count as photos that show" in problem.message
    assert "(tags.csv line 3)" in problem.message
    write_tag_table(tmp_path, f"image,tags\n{lines}")
    assert read_tag_table(path).problems == ()
