"""Files of a data folder: images, other files, links and text files."""

import pytest
from data_folders import write_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_folders import linked, nested

from tag2mask.data.layouts.listing import (
    group_by_id,
    list_images,
    read_class_list,
    subfolders,
)
from tag2mask.errors import DataError
from tag2mask.formats.photo_names import PHOTO_SUFFIXES

NAMES = st.sampled_from(["a.jpg", "a.PNG", "b.txt", ".c.jpg", "é 犬.webp", "d"])
FILES = st.sets(
    st.tuples(st.lists(st.sampled_from(["x", "y z", ".h"]), max_size=2), NAMES).map(
        lambda path: "/".join([*path[0], path[1]])
    )
)


@settings(max_examples=25, deadline=None)
@given(files=FILES)
def test_listed_images_and_other_files_are_all_that_are_not_hidden(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("data")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"123")
    other: list[str] = []
    found = list_images(root, other_files=other)
    shown = {f for f in files if not any(part.startswith(".") for part in f.split("/"))}
    images = {f for f in shown if any(f.lower().endswith(s) for s in PHOTO_SUFFIXES)}
    assert [file.path for file in found] == sorted(images)
    assert other == sorted(shown - images)
    assert all(file.stamp.startswith("3-") for file in found)


def test_skipped_and_missing_folders(tmp_path):
    for name in ("a.jpg", "masks/a.png", "deep/masks/b.png"):
        write_photo(tmp_path / name)
    paths = [file.path for file in list_images(tmp_path, skip=["masks"])]
    assert paths == ["a.jpg", "deep/masks/b.png"]
    assert [file.path for file in list_images(tmp_path, "masks")] == ["masks/a.png"]
    assert list_images(tmp_path, "gone") == [] and subfolders(tmp_path / "gone") == []
    assert subfolders(tmp_path) == ["deep", "masks"]


def test_files_of_one_id_are_grouped(tmp_path):
    for name in ("p/a.jpg", "p/a.png", "p/b.jpg", "q/a.jpg"):
        write_photo(tmp_path / name)
    grouped = group_by_id(list_images(tmp_path), "p/")
    assert {id: [file.path for file in files] for id, files in grouped.items()} == {
        "a": ["p/a.jpg", "p/a.png"],
        "b": ["p/b.jpg"],
    }


@pytest.mark.parametrize(
    "first",
    ["", "background\n", "__Background__\n", "_background_\n", "__ignore__\n_background_\n"],
)
def test_the_class_list_leaves_out_the_background(tmp_path, first):
    assert read_class_list(tmp_path) is None
    (tmp_path / "classes.txt").write_text(f"{first} traffic light \n\ndog\n")
    assert read_class_list(tmp_path) == ("traffic light", "dog")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("background dog ignore unlabeled", ("dog",)),
        ("unlabeled dog cat", ("dog", "cat")),
        ("dog ok none", ("dog", "ok", "none")),
    ],
)
def test_a_class_list_without_names_of_no_class(tmp_path, names, classes):
    (tmp_path / "classes.txt").write_text("\n".join(names.split()))
    assert read_class_list(tmp_path) == classes


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cat ignore dog", "'ignore' is not a class but is listed between classes.*Move it"),
        ("cat background dog", "'background' is not a class.*number the classes in masks 1, 2"),
        ("none cat", "'none' in the first line may be a class.*`background` instead of it, or"),
        ("ok", "'ok' in the first line"),
        ("ignore background", "names no class"),
    ],
)
def test_class_lists_whose_numbers_are_uncertain(tmp_path, names, message):
    (tmp_path / "classes.txt").write_text("\n".join(names.split()))
    with pytest.raises(DataError, match=message):
        read_class_list(tmp_path)


def test_folders_without_end_are_refused(tmp_path):
    write_photo(nested(tmp_path / "most", 99) / "a.jpg")
    assert len(list_images(tmp_path / "most")) == 1
    nested(tmp_path / "deep", 100)
    with pytest.raises(DataError, match=r"more than 100 levels deep \[.*/deep/d/d"):
        list_images(tmp_path / "deep")
    first = linked(tmp_path / "few", 6)
    write_photo(tmp_path / "few/last/a.jpg")
    assert len(list_images(first)) == 2**6, "links are followed"
    with pytest.raises(DataError, match=r"links lead to one folder in more than 100 ways"):
        list_images(linked(tmp_path / "many", 8))
