"""Which tables of a data folder are read, and tables of splits."""

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.csv_table import is_csv, read_csv
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError


def _photos(root, names):
    for name in names.split():
        write_photo(root / f"{name}.jpg")


@pytest.mark.parametrize(
    "names", ["train val test", "train_labels valid_labels test", "Train VAL T"]
)
def test_tables_named_after_splits(tmp_path, names):
    _photos(tmp_path, "a b c")
    train, val, test = names.split()
    write_tag_table(tmp_path, "image,tags\na.jpg,dog\n", f"{train}.csv")
    write_tag_table(tmp_path, "image,tags\nb.jpg,cat\n", f"{val}.csv")
    write_tag_table(tmp_path, "image\nc.jpg\n", f"{test}.csv")
    found = read_csv(tmp_path, SourceOptions())
    assert [(e.id, e.split, e.tags) for e in found.entries] == [
        ("a", "train", ("dog",)),
        ("b", "val", ("cat",)),
    ]
    assert found.tag_source == f"{train}.csv, {val}.csv"
    assert all(p.warning for p in found.problems) and f"{test}.csv" in found.problems[0].message


def test_photos_of_a_test_table_are_known_but_not_used(tmp_path):
    _photos(tmp_path, "a c")
    write_tag_table(tmp_path, "image,tags\na.jpg,dog\n", "train.csv")
    write_tag_table(tmp_path, "image,tags\nc.jpg,dog\n", "test.csv")
    found = read_csv(tmp_path, SourceOptions())
    assert [(e.id, e.split) for e in found.entries] == [("a", "train")] and not found.problems
    write_tag_table(tmp_path, "image,tags\na.jpg,dog\n", "test.csv")
    [problem, *_] = read_csv(tmp_path, SourceOptions()).problems
    assert not problem.warning and "'train' in train.csv line 2 and 'test' in test.csv" in (
        problem.message
    )


def test_other_tables_next_to_those_of_splits_are_a_warning(tmp_path):
    _photos(tmp_path, "a b")
    for name, photo in (("train", "a"), ("val", "b"), ("other", "a")):
        write_tag_table(tmp_path, f"image,tags\n{photo}.jpg,dog\n", f"{name}.csv")
    [warning] = check_data(tmp_path).warnings[:1]
    assert "tables that are not read" in warning and "other.csv" in warning


@pytest.mark.parametrize("names", ["one two", "train labels", "train train_labels val"])
def test_several_tables_that_are_not_those_of_splits_are_an_error(tmp_path, names):
    _photos(tmp_path, "a")
    for name in names.split():
        write_tag_table(tmp_path, "image,tags\na.jpg,dog\n", f"{name}.csv")
    with pytest.raises(DataError, match=r"several tables: .*train|one.*Name the one .* tags\.csv"):
        read_csv(tmp_path, SourceOptions())
    write_tag_table(tmp_path, "image,tags\na.jpg,dog\n")
    assert read_csv(tmp_path, SourceOptions()).tag_source == "tags.csv"


def test_tables_in_the_folders_of_splits(tmp_path):
    for split in ("train", "valid", "test"):
        _photos(tmp_path / split, "a b")
        write_tag_table(
            tmp_path / split, "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\n", "_classes.csv"
        )
    found = read_inventory(tmp_path)
    assert found.layout == "csv" and found.problems == ()
    assert [(e.id, e.split, e.tags, e.image) for e in found.entries] == [
        ("train/a", "train", ("cat",), "train/a.jpg"),
        ("train/b", "train", ("dog",), "train/b.jpg"),
        ("valid/a", "val", ("cat",), "valid/a.jpg"),
        ("valid/b", "val", ("dog",), "valid/b.jpg"),
    ]
    assert found.entries[0].where == "train/_classes.csv line 2"


def test_a_table_next_to_folders_of_classes_in_a_split_is_not_a_table_of_tags(tmp_path):
    _photos(tmp_path / "train/dog", "a")
    write_tag_table(tmp_path / "train", "epoch,loss\n1,2\n", "losses.csv")
    assert not is_csv(tmp_path)


@pytest.mark.parametrize("text", ["id,prediction\n1,0\n", "epoch,loss\n1,2\n", "id,tags\nz,dog\n"])
def test_class_folders_next_to_a_stray_table(tmp_path, text):
    _photos(tmp_path / "dog", "a")
    _photos(tmp_path / "cat", "b")
    write_tag_table(tmp_path, text, "metrics.csv")
    with pytest.raises(DataError, match=r"give --source folders"):
        read_inventory(tmp_path)
    assert read_inventory(tmp_path, "folders").class_names == ("cat", "dog")


def test_tables_of_predictions_are_no_tables_of_tags(tmp_path):
    _photos(tmp_path, "a")
    write_tag_table(tmp_path, "image,tags\na.jpg,dog\n", "train.csv")
    write_tag_table(tmp_path, "image_id,label\nz.jpg,4\n", "sample_submission.csv")
    found = read_csv(tmp_path, SourceOptions())
    assert found.tag_source == "train.csv" and found.problems == ()


def test_a_table_separated_by_tabs(tmp_path):
    _photos(tmp_path, "a b")
    write_tag_table(tmp_path, "image\ttags\na.jpg\tdog\nb.jpg\tcat\n", "labels.tsv")
    assert read_csv(tmp_path, SourceOptions()).tag_source == "labels.tsv"
