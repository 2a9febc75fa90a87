"""Layout csv: photos, splits and masks of a table, and every problem with its line."""

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.csv_table import is_csv, read_csv
from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.errors import DataError


def test_photos_splits_and_masks(tmp_path):
    write_photo(tmp_path / "images/a.jpg")
    write_photo(tmp_path / "sub/b.png")
    write_photo(tmp_path / "c.jpg")
    write_photo(tmp_path / "masks/a.png")
    write_photo(tmp_path / "gt/b.png")
    write_tag_table(
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
        write_photo(tmp_path / f"photos/{name}.jpg")
    write_tag_table(tmp_path, "id,tags,split\na,dog,train\nb,,val\nc,dog,test\n")
    (tmp_path / "classes.txt").write_text("background\ndog\ncat\n")
    found = read_csv(tmp_path, SourceOptions())
    assert found.class_names == ("dog", "cat")
    assert [(e.id, e.split) for e in found.entries] == [("a", "train"), ("b", "val")]
    assert found.problems == () and "test" in found.found_splits


def test_a_list_of_ids_whose_name_is_too_long(tmp_path):
    write_tag_table(tmp_path, "id,tags\na,dog\n")
    with pytest.raises(DataError, match="no list of ids 'aaa"):
        read_csv(tmp_path, SourceOptions(val_split=f"{'a' * 300}.txt"))


def test_lists_of_ids_decide_the_split(tmp_path):
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    write_tag_table(tmp_path, "id,tags\na,dog\nb,dog\nc,cat\n")
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
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "data/b.jpg")
    write_tag_table(tmp_path / "data", f"image,tags\n{image},dog\nb.jpg,dog\n")
    found = read_csv(tmp_path / "data", SourceOptions())
    assert [e.id for e in found.entries] == ["b"]
    [problem] = found.problems
    assert "tags.csv line 2" in problem.message and problem.photo is None and not problem.warning


def test_links_inside_the_folder_are_followed(tmp_path):
    write_photo(tmp_path / "elsewhere/deep/a.jpg")
    folder = write_tag_table(
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


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_guessed_column_next_to_class_folders_is_a_warning(tmp_path, split):
    for path in ("cat/a.jpg", "dog/b.jpg", "dog/c.jpg"):
        write_photo(tmp_path / split / path)
    text = "".join(f"{split}{path},rain\n" for path in ("cat/a.jpg", "dog/b.jpg", "dog/c.jpg"))
    write_tag_table(tmp_path, f"file_name,weather\n{text}", "metadata.csv")
    [problem] = read_csv(tmp_path, SourceOptions()).problems
    assert problem.warning and "tags are read from metadata.csv" in problem.message
    assert (
        f"({split}cat/, {split}dog/)" in problem.message and "--source folders" in problem.message
    )
    write_tag_table(tmp_path, f"file_name,label\n{text}", "metadata.csv")
    assert read_csv(tmp_path, SourceOptions()).problems == ()
    text = "".join(f"{split}{path},{path}9\n" for path in ("cat/a.jpg", "dog/b.jpg"))
    write_tag_table(tmp_path, f"file,md5\n{text}", "metadata.csv")
    with pytest.raises(DataError, match=r"lacks `tags`.*--source folders"):
        read_csv(tmp_path, SourceOptions())


def test_missing_and_unused_photos_are_named(tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "spare.jpg")
    (tmp_path / "c.jp2").write_bytes(b"x")
    write_tag_table(tmp_path, "image,tags\na.jpg,dog\nnope.jpg,dog\nc.jp2,dog\n")
    found = read_csv(tmp_path, SourceOptions())
    missing, suffix, unused = found.problems
    assert "'nope' does not exist" in missing.message and missing.photo == "nope"
    assert "line 3" in missing.message
    assert "unknown suffix '.jp2'" in suffix.message
    assert unused.warning and "spare.jpg" in unused.message


def test_an_id_of_two_files(tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "a.png")
    write_tag_table(tmp_path, "id,tags\na,dog\n")
    [problem, *_] = read_csv(tmp_path, SourceOptions()).problems
    assert "a.jpg, a.png" in problem.message


def test_a_missing_mask_is_named(tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_tag_table(tmp_path, "id,tags,mask\na,dog,masks/zz.png\n")
    [problem] = read_csv(tmp_path, SourceOptions()).problems
    assert "masks/zz.png" in problem.message and "line 2" in problem.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,dog,cat", "3 cells where the header has 2"),
        ('a,"dog', "quote is not closed"),
        ("a,dog,cat", "not by a comma"),
        ('a,"dog,cat;bird"', "contains a comma"),
        ("a", "1 cell where"),
        ("a", "write a comma before each cell that is left empty"),
        ("a,d\0g cat", r"tag 'd\x00g' contains an unprintable character; remove it"),
        ('a,"hot\tdog"', r"tag 'hot\tdog' contains"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path, line, message):
    write_tag_table(tmp_path, f"id,tags\n{line}\nb,dog\n")
    table = read_tag_table(tmp_path / "tags.csv")
    assert [row.id for row in table.rows] == ["b"]
    assert message in table.problems[0].message and "line 2" in table.problems[0].message
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "b.jpg")
    found = read_csv(tmp_path, SourceOptions())
    assert [problem.warning for problem in found.problems] == [False], "its photo is unused"


def test_which_table(tmp_path):
    assert not is_csv(tmp_path)
    with pytest.raises(DataError, match="no table"):
        read_csv(tmp_path, SourceOptions())
    write_photo(tmp_path / "a.jpg")
    write_tag_table(tmp_path, "id,tags\na,dog\n", "one.csv")
    assert read_csv(tmp_path, SourceOptions()).tag_source == "one.csv"
    write_tag_table(tmp_path, "id,tags\na,cat\n", "two.csv")
    with pytest.raises(DataError, match=r"one\.csv, two\.csv"):
        read_csv(tmp_path, SourceOptions())
    write_tag_table(tmp_path, "id,tags\na,bird\n")
    assert read_csv(tmp_path, SourceOptions()).class_names == ("bird",)


def test_addresses_of_label_studio_and_absolute_paths(tmp_path):
    for name in ("images/a.jpg", "images/x/b.jpg", "images/c.jpg"):
        write_photo(tmp_path / name)
    text = (
        "image,id,choice,annotator\n"
        '/data/upload/1/1f0e2d3c-a.jpg,7,"{""choices"": [""cat"", ""hot dog""]}",1\n'
        "/data/local-files/?d=photos%2Fx%2Fb.jpg,8,cat,1\n"
        "C:\\photos\\c.jpg,9,hot dog,1\n"
    )
    write_tag_table(tmp_path, text, "project-1.csv")
    found = read_csv(tmp_path, SourceOptions())
    assert found.problems == ()
    assert [(e.id, e.image, e.tags) for e in found.entries] == [
        ("a", "images/a.jpg", ("cat", "hot dog")),
        ("x/b", "images/x/b.jpg", ("cat",)),
        ("c", "images/c.jpg", ("hot dog",)),
    ]


def test_addresses_that_mean_no_photo_or_two(tmp_path):
    for name in ("x/a.jpg", "y/a.jpg", "b.jpg"):
        write_photo(tmp_path / name)
    rows = "/z/a.jpg,cat\n/z/gone.jpg,cat\n/z/b.jpg,cat\n"
    write_tag_table(tmp_path, f"image,tags\n{rows}")
    found = read_csv(tmp_path, SourceOptions())
    two, none = (p.message for p in found.problems if not p.warning)
    assert "tags.csv line 2: photo '/z/a.jpg' may be any of x/a.jpg, y/a.jpg" in two
    assert "photo '/z/gone.jpg' is not in the data folder" in none
    assert [entry.id for entry in found.entries] == ["b"]


def test_addresses_in_the_tables_of_splits(tmp_path):
    for split in ("train", "valid"):
        write_photo(tmp_path / split / f"{split}.jpg")
        write_tag_table(tmp_path / split, f"image,tags\n/z/{split}.jpg,cat\n", "_classes.csv")
    found = read_csv(tmp_path, SourceOptions())
    assert [(e.id, e.split) for e in found.entries] == [
        ("train/train", "train"),
        ("valid/valid", "val"),
    ]


def test_one_hot_tables_of_roboflow(tmp_path):
    for split in ("train", "valid", "test"):
        write_photo(tmp_path / split / "a_jpg.rf.0123.jpg")
        row = "filename, scratch, big dent\na_jpg.rf.0123.jpg, 1, 0\n"
        write_tag_table(tmp_path / split, row, "_classes.csv")
    found = read_csv(tmp_path, SourceOptions())
    assert [(e.id, e.split, e.tags) for e in found.entries] == [
        ("train/a_jpg.rf.0123", "train", ("scratch",)),
        ("valid/a_jpg.rf.0123", "val", ("scratch",)),
    ]
