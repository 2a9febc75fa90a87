import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.csv_table import is_csv, read_csv
from tag2mask.data.layouts.tag_table import parse_tags, read_tag_table
from tag2mask.errors import DataError


def _photo(path: Path, size=(4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def _table(folder: Path, text: str, name: str = "tags.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


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


def test_a_cell_quoted_as_a_whole_is_settled_by_the_header_or_the_classes():
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
    folder = _table(tmp_path_factory.mktemp("csv"), text.getvalue())
    table = read_tag_table(folder / "tags.csv")
    assert [row.tags for row in table.rows] == [tuple(tags)] and not table.problems


def test_photos_splits_and_masks(tmp_path):
    _photo(tmp_path / "images/a.jpg")
    _photo(tmp_path / "sub/b.png")
    _photo(tmp_path / "c.jpg")
    _photo(tmp_path / "masks/a.png")
    _photo(tmp_path / "gt/b.png")
    _table(
        tmp_path,
        "image,tags,split,mask\na.jpg,dog,train,\nsub/b.png,,val,gt/b.png\n./c.jpg,cat dog,,\n",
    )
    found = read_csv(tmp_path, SourceOptions())
    assert found.problems == ()
    assert found.class_names == ("cat", "dog")
    assert [(e.id, e.split, e.tags, e.image, e.mask) for e in found.entries] == [
        ("a", "train", ("dog",), "images/a.jpg", "masks/a.png"),
        ("sub/b", "val", (), "sub/b.png", "gt/b.png"),
        ("c", "train", ("cat", "dog"), "c.jpg", None),
    ]
    size = (tmp_path / "images/a.jpg").stat().st_size
    assert found.entries[0].stamp.startswith(f"{size}-")


def test_ids_classes_and_other_splits(tmp_path):
    for name in "abc":
        _photo(tmp_path / f"photos/{name}.jpg")
    _table(tmp_path, "id,tags,split\na,dog,train\nb,,val\nc,dog,test\n")
    (tmp_path / "classes.txt").write_text("background\ndog\ncat\n")
    found = read_csv(tmp_path, SourceOptions())
    assert found.class_names == ("dog", "cat")
    assert [(e.id, e.split) for e in found.entries] == [("a", "train"), ("b", "val")]
    assert found.problems == () and "test" in found.found_splits


def test_a_list_of_ids_whose_name_is_too_long(tmp_path):
    _table(tmp_path, "id,tags\na,dog\n")
    with pytest.raises(DataError, match="no list of ids 'aaa"):
        read_csv(tmp_path, SourceOptions(val_split=f"{'a' * 300}.txt"))


def test_lists_of_ids_decide_the_split(tmp_path):
    for name in "abc":
        _photo(tmp_path / f"{name}.jpg")
    _table(tmp_path, "id,tags\na,dog\nb,dog\nc,cat\n")
    (tmp_path / "held-out.txt").write_text("b\nzz\n")
    found = read_csv(tmp_path, SourceOptions(val_split="held-out.txt"))
    assert [(e.id, e.split) for e in found.entries] == [
        ("a", "train"),
        ("b", "val"),
        ("c", "train"),
    ]
    assert ["held-out.txt line 2: photo 'zz'" in p.message for p in found.problems] == [True]
    only = read_csv(tmp_path, SourceOptions(train_split="held-out.txt", val_split=None))
    assert [(e.id, e.split) for e in only.entries] == [("b", "train")]


@pytest.mark.parametrize(
    "image",
    [
        "../a.jpg",
        "x/../../a.jpg",
        "/etc/a.jpg",
        "C:/a.jpg",
        r"..\a.jpg",
        r"\\host\a.jpg",
        "",
        ".",
        "a\tb.jpg",
    ],
)
def test_paths_that_escape_or_name_nothing_are_errors(tmp_path, image):
    _photo(tmp_path / "a.jpg")
    _photo(tmp_path / "data/b.jpg")
    _table(tmp_path / "data", f"image,tags\n{image},dog\nb.jpg,dog\n")
    found = read_csv(tmp_path / "data", SourceOptions())
    assert [e.id for e in found.entries] == ["b"]
    [problem] = found.problems
    assert "tags.csv line 2" in problem.message and problem.photo is None and not problem.warning


def test_links_inside_the_folder_are_followed(tmp_path):
    _photo(tmp_path / "elsewhere/deep/a.jpg")
    folder = _table(
        tmp_path / "data",
        "image,tags\nlinked/deep/a.jpg,dog\nb.jpg,dog\nc.jpg,dog\n"
        f"d.jpg,dog\n{'a' * 300}.jpg,dog\n",
    )
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "b.jpg").symlink_to(tmp_path / "elsewhere/deep/a.jpg")
    (folder / "c.jpg").symlink_to(tmp_path / "nothing.jpg")
    (folder / "d.jpg").symlink_to("d.jpg")
    (folder / "loop").symlink_to(folder)
    found = read_csv(folder, SourceOptions())
    assert [e.image for e in found.entries] == ["linked/deep/a.jpg", "b.jpg", None, None, None]
    assert "link to nothing" in found.problems[0].message and found.problems[0].photo == "c"
    assert "link to nothing" in found.problems[1].message and found.problems[1].photo == "d"
    assert "can't be looked for: File name too long" in found.problems[2].message


def test_missing_and_spare_photos_are_named(tmp_path):
    _photo(tmp_path / "a.jpg")
    _photo(tmp_path / "spare.jpg")
    (tmp_path / "c.jp2").write_bytes(b"x")
    _table(tmp_path, "image,tags\na.jpg,dog\nnope.jpg,dog\nc.jp2,dog\n")
    found = read_csv(tmp_path, SourceOptions())
    missing, suffix, spare = found.problems
    assert "'nope' does not exist" in missing.message and missing.photo == "nope"
    assert "line 3" in missing.message
    assert "unknown suffix '.jp2'" in suffix.message
    assert spare.warning and "spare.jpg" in spare.message


def test_an_id_that_fits_two_files(tmp_path):
    _photo(tmp_path / "a.jpg")
    _photo(tmp_path / "a.png")
    _table(tmp_path, "id,tags\na,dog\n")
    [problem, *_] = read_csv(tmp_path, SourceOptions()).problems
    assert "a.jpg, a.png" in problem.message


def test_a_missing_mask_is_named(tmp_path):
    _photo(tmp_path / "a.jpg")
    _table(tmp_path, "id,tags,mask\na,dog,masks/zz.png\n")
    [problem] = read_csv(tmp_path, SourceOptions()).problems
    assert "masks/zz.png" in problem.message and "line 2" in problem.message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a,dog,cat", "3 cells where the header has 2"),
        ('a,"dog', "quote is not closed"),
        ("a,dog,cat", "not by a comma"),
        ('a,"dog,cat"', "contains a comma"),
        ("a", "1 cells"),
        ("a", "write a comma before each cell that is left empty"),
        ("a,d\0g cat", r"tag 'd\x00g' contains an unprintable character; remove it"),
        ('a,"hot\tdog"', r"tag 'hot\tdog' contains"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path, line, says):
    _table(tmp_path, f"id,tags\n{line}\nb,dog\n")
    table = read_tag_table(tmp_path / "tags.csv")
    assert [row.id for row in table.rows] == ["b"]
    assert says in table.problems[0].message and "line 2" in table.problems[0].message
    _photo(tmp_path / "a.jpg")
    _photo(tmp_path / "b.jpg")
    found = read_csv(tmp_path, SourceOptions())
    assert [problem.warning for problem in found.problems] == [False], "its photo isn't spare"


def test_words_between_semicolons_raise_a_doubt(tmp_path):
    _table(tmp_path, "id,tags\na,traffic light;dog\nb,cat dog bird\n")
    [problem] = read_tag_table(tmp_path / "tags.csv").problems
    assert problem.warning and "line 2" in problem.message and "quote" in problem.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a.jpg,dog\n", "no header"),
        ("id,tag\na,dog\n", "did you mean 'tag'"),
        ("id;tags\na;dog\n", "separated by ';'"),
        ("name,tags\n", "`image` or `id`"),
        ("id,tags,tags\n", "twice"),
        ("id,tags,masks\n", "did you mean 'mask'"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path, text, says):
    _table(tmp_path, text)
    with pytest.raises(DataError, match=r"tags\.csv") as caught:
        read_tag_table(tmp_path / "tags.csv")
    assert says in str(caught.value)


def test_byte_order_mark_crlf_and_capitals(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffID,Tags\r\na,dog\r\n".encode())
    assert read_tag_table(tmp_path / "t.csv").rows[0].tags == ("dog",)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "tags.csv").write_bytes("id,tags\na,köpek\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_tag_table(tmp_path / "tags.csv")


def test_which_table(tmp_path):
    assert not is_csv(tmp_path)
    with pytest.raises(DataError, match="no table"):
        read_csv(tmp_path, SourceOptions())
    _photo(tmp_path / "a.jpg")
    _table(tmp_path, "id,tags\na,dog\n", "one.csv")
    assert read_csv(tmp_path, SourceOptions()).tag_source == "one.csv"
    _table(tmp_path, "id,tags\na,cat\n", "two.csv")
    with pytest.raises(DataError, match=r"one\.csv, two\.csv"):
        read_csv(tmp_path, SourceOptions())
    _table(tmp_path, "id,tags\na,bird\n")
    assert read_csv(tmp_path, SourceOptions()).class_names == ("bird",)
