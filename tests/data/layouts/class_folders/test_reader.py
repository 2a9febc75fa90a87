"""Layout folders: classes, splits, masks, and folders that are not classes."""

import shutil
from pathlib import Path

import pytest
from data_folders import write_photo, write_tag_table
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.class_folders.reader import is_folders, read_folders
from tag2mask.data.layouts.csv_table import read_csv
from tag2mask.errors import DataError


def _photo_in_each(root: Path, folders: str) -> None:
    for number, folder in enumerate(folders.split()):
        write_photo(root / folder / f"{number}.jpg")


def _read(root: Path, **options):
    return read_folders(root, SourceOptions(**options))


def _rows(found) -> dict[str, tuple]:
    return {e.id: (e.split, e.tags) for e in found.entries}


def test_one_folder_per_class(tmp_path):
    write_photo(tmp_path / "dog/a.jpg")
    write_photo(tmp_path / "dog/deep/b.png")
    write_photo(tmp_path / "cat/c.JPG")
    write_photo(tmp_path / "cat/.hidden.jpg")
    found = _read(tmp_path)
    assert is_folders(tmp_path) and found.problems == ()
    assert found.class_names == ("cat", "dog")
    assert _rows(found) == {
        "a": ("train", ("dog",)),
        "deep/b": ("train", ("dog",)),
        "c": ("train", ("cat",)),
    }


def test_class_names_match_image_folder(tmp_path):
    from torchvision.datasets import ImageFolder

    for name in ("zebra", "Äpfel", "Bus", "10 things"):
        write_photo(tmp_path / name / f"{name}.jpg")
    assert list(_read(tmp_path).class_names) == ImageFolder(str(tmp_path)).classes


@pytest.mark.parametrize("how", ["copy", "link"])
def test_the_same_name_in_several_folders_has_several_tags(tmp_path, how):
    photo = write_photo(tmp_path / "dog/a.jpg")
    (tmp_path / "person").mkdir()
    if how == "copy":
        shutil.copy(photo, tmp_path / "person/a.jpg")
    else:
        (tmp_path / "person/a.jpg").symlink_to(photo)
    found = _read(tmp_path)
    assert _rows(found) == {"a": ("train", ("dog", "person"))} and found.problems == ()


@pytest.mark.parametrize("target", ["nothing", "itself", "a" * 300])
def test_links_to_nothing_are_named(tmp_path, target):
    write_photo(tmp_path / "dog/a.jpg")
    for name in ("dog/b.jpg", "dog/readme.md", "dog/folder", "loose.jpg", "folder"):
        link = tmp_path / name
        link.symlink_to(link.name if target == "itself" else target)
    found = _read(tmp_path)
    assert set(_rows(found)) == {"a"}
    [problem] = found.problems
    assert "'dog/b.jpg' is a link to nothing" in problem.message
    assert problem.photo is not None and not problem.warning  # --skip-bad continues without it


def test_files_of_other_kinds_are_reported(tmp_path):
    write_photo(tmp_path / "dog/a.jpg")
    (tmp_path / "dog/b.nef").touch()
    (tmp_path / "dog/.hidden").touch()
    (tmp_path / "classes.txt").write_text("dog\n")
    [problem] = _read(tmp_path).problems
    assert problem.warning
    assert "1 file in class folders not used" in problem.message and "dog/b.nef" in problem.message


def test_different_photos_of_one_name_are_both_named(tmp_path):
    write_photo(tmp_path / "dog/001.jpg", color="red")
    write_photo(tmp_path / "cat/001.jpg", color="blue")
    [problem] = _read(tmp_path).problems
    assert "'cat/001.jpg' and 'dog/001.jpg'" in problem.message and not problem.warning
    assert "copy one over" not in problem.message  # one of the two may be a mask
    write_photo(tmp_path / "dog/002.jpg", color="red")
    write_photo(tmp_path / "cat/002.jpg", color="blue")
    [problem] = _read(tmp_path).problems
    assert "differ (2 such names)" in problem.message
    paths = [f"{name}/00{number}.jpg" for name in ("dog", "cat") for number in (1, 2)]
    rows = "".join(f"{path},{path[:3]}\n" for path in paths)
    write_tag_table(tmp_path, f"image,tags\n{rows}")  # the fix that the message names
    assert read_csv(tmp_path, SourceOptions()).problems == ()


def test_two_files_of_one_class_and_id(tmp_path):
    write_photo(tmp_path / "dog/a.jpg")
    write_photo(tmp_path / "dog/a.png")
    [problem] = _read(tmp_path).problems
    assert "same id 'a'" in problem.message


@pytest.mark.parametrize("name", ["background", "_none"])
def test_photos_without_any_class(tmp_path, name):
    write_photo(tmp_path / "dog/a.jpg")
    write_photo(tmp_path / name / "b.jpg")
    found = _read(tmp_path)
    assert found.class_names == ("dog",) and _rows(found)["b"] == ("train", ())


def test_train_and_val_folders(tmp_path):
    write_photo(tmp_path / "train/dog/1.jpg", color="red")
    write_photo(tmp_path / "val/dog/1.jpg", color="blue")
    write_photo(tmp_path / "test/dog/1.jpg", color="green")
    write_photo(tmp_path / "val/cat/2.jpg")
    found = _read(tmp_path)
    assert found.class_names == ("cat", "dog") and found.problems == ()
    assert _rows(found) == {
        "train/1": ("train", ("dog",)),
        "val/1": ("val", ("dog",)),
        "val/2": ("val", ("cat",)),
    }
    other = _read(tmp_path, train_split="test", val_split=None)
    assert _rows(other) == {"test/1": ("train", ("dog",))}


def test_masks_by_id_or_mirrored(tmp_path):
    for path in ("train/dog/1.jpg", "train/dog/2.jpg", "train/cat/3.jpg", "train/cat/4.jpg"):
        write_photo(tmp_path / path)
    for path in ("masks/train/1.png", "masks/2.png", "masks/train/cat/3.png"):
        write_photo(tmp_path / path)
    assert {e.id: e.mask for e in _read(tmp_path).entries} == {
        "train/1": "masks/train/1.png",
        "train/2": "masks/2.png",
        "train/3": "masks/train/cat/3.png",
        "train/4": None,
    }


def test_own_class_order_and_lists(tmp_path):
    write_photo(tmp_path / "dog/a.jpg")
    write_photo(tmp_path / "cat/b.jpg")
    (tmp_path / "classes.txt").write_text("dog\ncat\nbird\n")
    (tmp_path / "val.txt").write_text("b.jpg\n")
    found = _read(tmp_path, val_split="val.txt")
    assert found.class_names == ("dog", "cat", "bird")
    assert _rows(found)["b"][0] == "val"


def test_loose_photos_are_named(tmp_path):
    write_photo(tmp_path / "dog/a.jpg")
    write_photo(tmp_path / "loose.jpg")
    [problem] = _read(tmp_path).problems
    assert problem.warning and "loose.jpg" in problem.message


def test_photos_without_tags_are_not_a_class_folder(tmp_path):
    assert not is_folders(tmp_path)
    with pytest.raises(DataError, match="no class folder"):
        _read(tmp_path)
    write_photo(tmp_path / "images/a.jpg")
    with pytest.raises(DataError, match=r"no tags.*tags\.csv"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            "Train/dog Train/cat Val/dog",
            r"Train/ is named as a split and contains folders \(cat, dog\).*"
            r"Set prepare\.train_split to 'Train' and prepare\.val_split to 'Val'\.",
        ),
        ("training/dog validation/dog", "to 'training' and prepare.val_split to 'validation'"),
        ("TRAIN/dog test/dog", r"Set prepare\.train_split to 'TRAIN'\."),
        ("training_set/dog test_set/dog", r"Set prepare\.train_split to 'training_set'\."),
        ("dog cat valid/dog", "valid/ is named as a split.*into train/ next to it"),
        (
            "mydata/cat mydata/dog masks",
            r"mydata/, contains folders \(cat, dog\).*Give .*/mydata if",
        ),
        ("train/mydata/cat val/mydata/dog", "train/mydata/, contains folders.*into train/ if"),
        ("images/cat images/dog", "Give .*/images if"),
        ("images labels", "photos in images/ but no tags"),
        ("Images/train Labels/train", "photos in Images/ but no tags"),
        ("Images background", "photos in Images/ but no tags"),
        ("train val", "photos in train/ but no tags"),
        ("dog Masks", "the folder Masks/ would be a class.*Rename it to masks"),
    ],
)
def test_other_layouts_are_not_taken_for_classes(tmp_path, folders, message):
    _photo_in_each(tmp_path, folders)
    with pytest.raises(DataError, match=message):
        _read(tmp_path)


def test_splits_by_other_names_can_be_set(tmp_path):
    for path in ("Train/dog/1.jpg", "Train/cat/2.jpg", "Val/dog/3.jpg"):
        write_photo(tmp_path / path)
    found = _read(tmp_path, train_split="Train", val_split="Val")
    assert found.class_names == ("cat", "dog") and found.problems == ()
    assert [e.split for e in found.entries] == ["train", "train", "val"]


@pytest.mark.parametrize("name", ["valid", "Validation", "dev"])
def test_a_validation_folder_by_a_usual_name(tmp_path, name):
    for path in ("train/dog/1.jpg", "train/cat/2.jpg", f"{name}/dog/3.jpg", "test/cat/4.jpg"):
        write_photo(tmp_path / path)
    found = _read(tmp_path)
    assert found.class_names == ("cat", "dog") and found.problems == ()
    assert {e.id: e.split for e in found.entries if e.split == "val"} == {f"{name}/3": "val"}
    assert {e.split for e in _read(tmp_path, val_split=None).entries} == {"train"}


def test_folders_next_to_a_validation_folder_are_not_used(tmp_path):
    for path in ("train/dog/1.jpg", "train/cat/2.jpg", "val/dog/3.jpg", "valid/cat/4.jpg"):
        write_photo(tmp_path / path)
    found = _read(tmp_path)
    assert [e.id for e in found.entries if e.split == "val"] == ["val/3"]
    assert ["not used: valid" in problem.message for problem in found.problems] == [True]


@pytest.mark.parametrize("folders", ["dog train", "train background", "Train dog/deep dog"])
def test_classes_may_have_the_name_of_a_split_and_contain_folders(tmp_path, folders):
    _photo_in_each(tmp_path, folders)
    assert _read(tmp_path).problems == ()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ("dog/a dog/b cat", "dog/ (a, b); if the folders inside are the classes, move them up"),
        ("dog Labels", "despite their names: Labels; move them elsewhere if they are not"),
        ("train/dog train/masks", "despite their names: train/masks"),
    ],
)
def test_doubtful_class_folders_are_reported(tmp_path, folders, message):
    _photo_in_each(tmp_path, folders)
    [problem] = _read(tmp_path).problems
    assert problem.warning and message in problem.message


def test_unusable_names_are_problems(tmp_path):
    write_photo(tmp_path / "dog/a.jpg")
    write_photo(tmp_path / "dog/b\\c.jpg")
    write_photo(tmp_path / "dog/d\ne.jpg")
    messages = [p.message for p in _read(tmp_path).problems]
    assert len(messages) == 2 and all("rename it" in m for m in messages)


@settings(max_examples=20, deadline=None)
@given(
    tags=st.dictionaries(
        st.sampled_from(["a", "b.c", "x/d", "é 犬"]),
        st.sets(st.sampled_from(["dog", "traffic light", "_none"]), min_size=1),
        min_size=1,
    )
)
def test_ids_and_tags_are_read_back(tmp_path_factory, tags):
    root = tmp_path_factory.mktemp("folders")
    write_photo(root / "dog/always.jpg")  # one class folder at least
    for id, folders in tags.items():
        for folder in folders:
            write_photo(root / folder / f"{id}.png")
    found = _rows(_read(root))
    expected = {id: ("train", tuple(sorted(own - {"_none"}))) for id, own in tags.items()}
    assert found == {"always": ("train", ("dog",)), **expected}
