"""Problems of ids, tags, splits and classes, as reported by the full check."""

import json
import shutil
import time
from pathlib import Path

import pytest
from data_folders import write_data, write_photo

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.checks.inventory import inventory_problems
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        (
            "a,dog,train\nb,dog,tran\nc,dog,vla\n",
            "1 of split 'tran'; did you mean 'train'?, 1 of split 'vla'; did you mean 'val'?",
        ),
        ("a,dog,train\nb,dog,unlabeled\nc,dog,train\n", "1 of split 'unlabeled'"),
        (
            "a,dog,train\nb,Dog,train\nc,Dog,train\n",
            "tag 'dog' of photo 'a' [tags.csv line 2] looks like 'Dog' (2 photos); "
            "is it misspelled?",
        ),
        ("a,dog\u200b,train\nb,dog,train\nc,dog,train\n", "is it misspelled?"),
        ("a,café,train\nb,cafe\u0301,train\nc,cafe\u0301,train\n", "is it misspelled?"),
    ],
)
def test_likely_typos_are_warnings(tmp_path, rows, warning):
    report = check_data(write_data(tmp_path, rows, photos="a b c"))
    assert report.errors == ()
    assert any(warning in text for text in report.warnings), report.warnings


def test_a_validation_split_that_no_photo_has_is_an_error(tmp_path):
    rows = "a,dog,train\nb,dog,validation\nc,,train\n"
    root = write_data(tmp_path, rows, photos="a b c")
    report = check_data(root, options=SourceOptions(val_split="validaton"))
    (error,) = report.errors
    assert "no photo of split 'validaton'; did you mean 'validation'?" in error
    assert check_data(root, options=SourceOptions(val_split="validation")).problems == ()
    assert check_data(root, options=SourceOptions(val_split=None)).errors == ()


def test_the_split_test_is_not_a_typo(tmp_path):
    root = write_data(tmp_path, "a,dog,train\nb,dog,test\nc,,train\n", photos="a b c")
    assert check_data(root).problems == ()


def test_a_rare_name_similar_to_a_common_one_is_reported(tmp_path):
    names = [f"x{i}" for i in range(43)]
    rows = "".join(f"{name},{'dogg' if i < 2 else 'dog'},train\n" for i, name in enumerate(names))
    root = write_data(tmp_path, rows, photos=" ".join(names))
    (warning,) = check_data(root, decode=False).warnings
    assert "tag 'dogg' of 2 photos" in warning and "looks like 'dog' (41 photos)" in warning


def test_one_photo_under_two_ids_is_an_error(tmp_path):
    write_photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "tags.csv").write_text("image,tags,split\nimages/a.jpg,dog,train\na.jpg,cat,val\n")
    assert any(
        "ids 'images/a' and 'a' are the same photo (tags.csv line 2 and tags.csv line 3)" in error
        for error in check_data(tmp_path).errors
    )


def test_photos_whose_output_files_conflict(tmp_path):
    root = write_data(tmp_path, "a,dog,train\na.png/b,dog,train\nb.png/c,dog,train\n", photos="a")
    for name in ("a.png/b", "b.png/c"):
        write_photo(root / "images" / f"{name}.jpg")
    (error,) = check_data(root).errors
    assert error.startswith(
        "photo 'a.png/b' is in a folder that has the name of a file of photo 'a'"
    )


def test_a_misspelled_tag_is_a_warning_without_a_class_list(tmp_path):
    rows = "".join(f"a{i},elephant,train\n" for i in range(3)) + "b,elepant,train\nc,bus,train\n"
    photos = "a0 a1 a2 b c"
    [warning] = check_data(write_data(tmp_path / "x", rows, photos=photos)).warnings
    assert "'elepant' of photo 'b' [tags.csv line 5]" in warning and "'elephant'" in warning
    listed = check_data(write_data(tmp_path / "y", rows, "elephant elepant bus", photos))
    assert listed.problems == ()


@pytest.mark.parametrize(
    ("rows", "classes", "message"),
    [
        ("a,,train\n", None, "nothing to learn"),
        ("a,,train\n", "dog", "nothing to learn"),
        ("a,dog,test\n", None, "no photo for training; splits found: test"),
        (
            "",
            None,
            "no photo for training: no line of tags.csv names one; write one line per photo",
        ),
        ("a,background,train\n", None, "no training photo has a tag (tags.csv)"),
        ("a,dog,train\n", "dog dog", "class 'dog' is listed twice (classes.txt). Remove one"),
        (
            "a,dgo,train\n",
            "dog",
            "[tags.csv line 2]; tags.csv); correct the tag or add it to classes.txt",
        ),
    ],
)
def test_data_without_anything_to_learn(tmp_path, rows, classes, message):
    errors = check_data(write_data(tmp_path, rows, classes, "a")).errors
    assert any(message in error for error in errors), errors


def test_errors_that_explain_why_no_photo_is_for_training_stand_alone(tmp_path):
    write_photo(tmp_path / "a.jpg")
    image = {"id": 1, "file_name": "/home/me/b.jpg", "width": 4, "height": 3}
    content = {"images": [image], "categories": [{"id": 1, "name": "dog"}], "annotations": []}
    content["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    [error] = check_data(tmp_path).errors
    assert "/home/me/b.jpg" in error and "for training" not in error


@pytest.mark.parametrize("layout", ["csv", "folders", "voc"])
def test_problems_of_the_class_list_name_it(tmp_path, layout):
    if layout == "csv":
        write_data(tmp_path, "a,dog,train\n", photos="a")
    elif layout == "folders":
        write_photo(tmp_path / "dog/a.jpg")
    else:
        write_photo(tmp_path / "JPEGImages/a.jpg")
        (tmp_path / "ImageSets").mkdir()
        (tmp_path / "ImageSets/train.txt").write_text("a\n")
        (tmp_path / "Annotations").mkdir()
        (tmp_path / "Annotations/a.xml").write_text(
            "<annotation><object><name>dog</name></object></annotation>"
        )
    (tmp_path / "classes.txt").write_text("dog\ndog\n")
    assert check_data(tmp_path).errors == (
        "class 'dog' is listed twice (classes.txt). Remove one of the two.",
    )
    for text in ("", "\n \n", "background\n"):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(DataError, match=r"classes\.txt names no class.*one name per line"):
            check_data(tmp_path)


def test_a_class_named_by_a_control_character(tmp_path):
    write_photo(tmp_path / "a.jpg")
    (tmp_path / "annotations.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}],
                "categories": [{"id": 1, "name": "hot\ndog"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}],
            }
        )
    )
    assert check_data(tmp_path).errors == (
        r"class name 'hot\ndog' holds an unprintable character or is not UTF-8 "
        "(annotations.json). Rename the class.",
    )


def test_many_classes_take_no_long_time(tmp_path):
    rows = "".join(f"a{i},class {i}; {i} class,train\n" for i in range(5000))
    inventory = read_inventory(write_data(tmp_path, rows))
    start = time.perf_counter()
    assert any("10000 classes" in problem.message for problem in inventory_problems(inventory))
    assert time.perf_counter() - start < 5


def test_too_many_classes(tmp_path):
    names = " ".join(f"c{i}" for i in range(255))
    report = check_data(write_data(tmp_path, f"a,{names},train\n", photos="a"))
    assert any("255 classes" in error for error in report.errors)
    names = " ".join(f"c{i}" for i in range(254))
    assert check_data(write_data(tmp_path, f"a,{names},train\n", photos="a")).errors == ()


def test_a_photo_in_both_splits(tmp_path):
    root = write_data(tmp_path, "a,dog,train\nb,dog,train\n", photos="a b")
    (root / "ImageSets").mkdir()
    shutil.move(root / "a.jpg", root / "ImageSets/a.jpg")
    (root / "JPEGImages").mkdir()
    for name in ("ImageSets/a.jpg", "b.jpg"):
        shutil.move(root / name, root / "JPEGImages" / Path(name).name)
    (root / "ImageSets/train.txt").write_text("a\nb\n")
    (root / "ImageSets/val.txt").write_text("b\n")
    errors = check_data(root).errors
    assert any("'b' is in both splits" in error for error in errors)


@pytest.mark.parametrize(
    ("rows", "warnings"),
    [
        (
            "a,dog,train\nb,dog,train\nc,,val\n",
            ["the only class 'dog' is on all 2 training photos"],
        ),
        ("a,dog,train\nc,,val\n", ["the only class 'dog' is on the only training photo"]),
        (
            "a,dog cat,train\nb,dog,train\nc,,val\n",
            ["class 'dog' is on all 2 training photos"],
        ),
        (
            "a,dog cat,train\nb,dog cat,train\nc,,train\nd,cat,val\n",
            ["exactly the same training photos: cat + dog (2 photos)"],
        ),
        (
            "a,dog cat,train\n",
            [
                "class 'cat', 'dog' is on the only training photo",
                "exactly the same training photos: cat + dog (1 photo)",
            ],
        ),
        ("a,dog cat,train\nb,dog,train\nc,,train\n", []),
    ],
)
def test_classes_that_training_cannot_tell_apart(tmp_path, rows, warnings):
    report = check_data(write_data(tmp_path, rows, photos="a b c d"), decode=False)
    assert report.errors == ()
    found = [text for text in report.warnings if "training photo" in text]
    assert len(found) == len(warnings)
    assert all(part in text for part, text in zip(warnings, found, strict=True)), found


@pytest.mark.parametrize("cell", ["hot dog", "trafic light", "stop sign"])
def test_halves_of_a_name_are_not_unknown_tags(tmp_path, cell):
    root = write_data(tmp_path, f"a,{cell},train\nb,dog,train\n", photos="a b")
    (root / "classes.txt").write_text("dog\ntraffic light\n")
    [error] = check_data(root, decode=False).errors
    assert f"unknown tag '{cell}'" in error
    assert "add it to classes.txt; if it is several tags, separate them by ';'" in error
