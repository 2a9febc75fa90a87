"""Roboflow's masks: for evaluation, with tags from a table, or from the masks if asked."""

import numpy as np
import pytest
from data_folders import write_array, write_photo, write_tag_table

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError
from tag2mask.formats.roboflow import read_roboflow

_MASK = np.array([[0, 1, 1, 2]] * 3, np.uint8)


@pytest.fixture
def root(tmp_path):
    for split, name in (("train", "a"), ("valid", "b")):
        write_photo(tmp_path / f"{split}/{name}.jpg")
        write_array(tmp_path / f"{split}/{name}_mask.png", _MASK * (name == "a"))
        table = "Pixel Value, Class\n0, background\n1, dog\n2, big cat\n"
        write_tag_table(tmp_path / split, table, "_classes.csv")
    return tmp_path


def test_masks_are_no_tags_unless_asked_for(root):
    with pytest.raises(DataError, match=r"no tags beside them.*prepare\.tags=masks"):
        read_inventory(root)
    found = read_inventory(root, options=SourceOptions(tags="masks"))
    assert found.layout == "roboflow" and found.problems == ()
    assert found.class_names == ("dog", "big cat")
    assert [(e.id, e.split, e.tags) for e in found.entries] == [
        ("train/a", "train", ("dog", "big cat")),
        ("valid/b", "val", ()),
    ]
    np.testing.assert_array_equal(found.mask_drawer.draw("train/a", (3, 4)), _MASK)


def test_masks_next_to_a_table_of_tags(root):
    write_tag_table(root, "image,tags,split\ntrain/a.jpg,dog;big cat,\nvalid/b.jpg,,val\n")
    (root / "classes.txt").write_text("big cat\ndog\n")
    found = read_inventory(root)
    assert found.layout == "roboflow" and found.problems == ()
    assert [(e.id, bool(e.mask_stamp)) for e in found.entries] == [
        ("train/a", True),
        ("valid/b", True),
    ]
    drawn = found.mask_drawer.draw("train/a", (3, 4))
    assert drawn[0].tolist() == [0, 2, 2, 1]


def test_photos_of_the_masks(root):
    write_array(root / "train/gone_mask.png", _MASK)
    found = {photo.file_name: photo for photo in read_roboflow(root)}
    assert set(found) == {"train/a.jpg", "train/gone", "valid/b.jpg"}
    assert found["train/a.jpg"].split == "train" and found["train/a.jpg"].size == (4, 3)
    assert [region.label for region in found["train/a.jpg"].regions] == ["dog", "big cat"]
    with pytest.raises(DataError, match=r"no _classes\.csv with the values"):
        read_roboflow(root / "train/x")


def test_a_value_that_is_named_twice(root):
    table = "Pixel Value, Class\n0, background\n1, dog\n1, cat\n"
    write_tag_table(root / "train", table, "_classes.csv")
    message = r"the value 1 of pixels is named twice, 'dog' and 'cat' \[.*train/_classes\.csv\]"
    for options in (SourceOptions(tags="masks"), SourceOptions()):
        write_tag_table(root, "image,tags\ntrain/a.jpg,dog\n")
        with pytest.raises(DataError, match=message):
            read_inventory(root, options=options)


def test_a_value_with_another_name_in_another_split(root):
    table = "Pixel Value, Class\n0, background\n1, cat\n"
    write_tag_table(root / "valid", table, "_classes.csv")
    found = read_inventory(root, options=SourceOptions(tags="masks"))
    assert found.class_names == ("cat", "dog", "big cat")


@pytest.mark.parametrize("text", ["filename, dog\na.jpg, 1\n", "image_id,label\n7,dog\n"])
def test_a_table_with_a_column_of_photos_is_a_table_of_tags(tmp_path, text):
    write_photo(tmp_path / "train/a.jpg")
    write_photo(tmp_path / "train/7.jpg")
    write_tag_table(tmp_path / "train", text, "_classes.csv")
    assert read_inventory(tmp_path).layout == "csv"
