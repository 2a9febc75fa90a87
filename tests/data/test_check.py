import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.data.check import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError


def _photo(path: Path, size=(8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)


def _mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def _data(root: Path, rows: str, classes: str | None = None, photos: str = "") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "tags.csv").write_text("id,tags,split\n" + rows)
    if classes is not None:
        (root / "classes.txt").write_text("\n".join(classes.split()))
    for name in photos.split():
        _photo(root / f"{name}.jpg")
    return root


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        (
            "a,dog,train\nb,dog,tran\nc,dog,Val\n",
            "1 of split 'tran'; did you mean 'train'?, 1 of split 'Val'; did you mean 'val'?",
        ),
        ("a,dog,train\nb,dog,validation\nc,dog,train\n", "1 of split 'validation'"),
        (
            "a,dog,train\nb,Dog,train\nc,Dog,train\n",
            "tag 'dog' of photo 'a' [tags.csv line 2] looks like 'Dog' (2 photos); "
            "is it misspelled?",
        ),
        ("a,café,train\nb,cafe\u0301,train\nc,cafe\u0301,train\n", "is it misspelled?"),
    ],
)
def test_slips_that_are_no_error_are_told(tmp_path, rows, warning):
    report = check_data(_data(tmp_path, rows, photos="a b c"))
    assert report.errors == ()
    assert any(warning in text for text in report.warnings), report.warnings


def test_a_validation_split_that_no_photo_has_is_an_error(tmp_path):
    root = _data(tmp_path, "a,dog,train\nb,dog,validation\n", photos="a b")
    report = check_data(root, options=SourceOptions(val_split="validaton"))
    (error,) = report.errors
    assert "no photo of split 'validaton'; did you mean 'validation'?" in error
    assert check_data(root, options=SourceOptions(val_split="validation")).problems == ()
    assert check_data(root, options=SourceOptions(val_split=None)).errors == ()


def test_colors_saved_with_a_palette_of_each_masks_own_are_told(tmp_path):
    root = _data(tmp_path, "a,dog,train\nb,dog,train\nc,dog,train\n", photos="a b c")
    red, blue = (200, 0, 0), (0, 0, 200)
    palettes = {"a": [red, blue], "b": [blue, red], "c": [red, blue]}
    numbers = np.eye(6, 8, dtype=np.uint8)
    for name, palette in palettes.items():
        write_mask(root / "masks" / f"{name}.png", numbers, palette)
    (warning,) = check_data(root).warnings
    assert "another color" in warning and "(photo 'b' [tags.csv line 3])" in warning
    assert "write class numbers" in warning
    for name in palettes:
        write_mask(root / "masks" / f"{name}.png", numbers, ClassSet(("dog",)).colors)
    image = Image.open(root / "masks" / "b.png")
    image.putpalette([9, 9, 9, *image.getpalette()[3:765], 9, 9, 9])
    image.save(root / "masks" / "b.png")  # what no class has may look as it likes
    assert check_data(root).problems == ()


def test_splits_for_later_are_no_slip(tmp_path):
    root = _data(tmp_path, "a,dog,train\nb,dog,test\n", photos="a b")
    assert check_data(root).problems == ()


def test_a_rare_name_near_a_common_one_is_told(tmp_path):
    names = [f"x{i}" for i in range(43)]
    rows = "".join(f"{name},{'dogg' if i < 2 else 'dog'},train\n" for i, name in enumerate(names))
    root = _data(tmp_path, rows, photos=" ".join(names))
    (warning,) = check_data(root, decode=False).warnings
    assert "tag 'dogg' of 2 photos" in warning and "looks like 'dog' (41 photos)" in warning


def test_one_photo_under_two_ids_is_an_error(tmp_path):
    _photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "tags.csv").write_text("image,tags,split\nimages/a.jpg,dog,train\na.jpg,cat,val\n")
    assert any(
        "ids 'images/a' and 'a' are the same photo (tags.csv line 2 and tags.csv line 3)" in error
        for error in check_data(tmp_path).errors
    )


def test_photos_whose_files_would_be_in_each_others_way(tmp_path):
    root = _data(tmp_path, "a,dog,train\na.png/b,dog,train\nb.png/c,dog,train\n", photos="a")
    for name in ("a.png/b", "b.png/c"):
        _photo(root / "images" / f"{name}.jpg")
    (error,) = check_data(root).errors
    assert error.startswith(
        "photo 'a.png/b' is in a folder that has the name of a file of photo 'a'"
    )


def test_masks_that_fit_no_photo_are_told(tmp_path):
    root = _data(tmp_path, "a,dog,train\n", photos="a")
    _mask(root / "masks/a_mask.png", np.zeros((6, 8), np.uint8))
    (warning,) = check_data(root).warnings
    assert "1 masks match no photo: masks/a_mask.png" in warning


def test_masks_and_tags_that_contradict_each_other_are_told(tmp_path):
    root = _data(
        tmp_path, "a,dog,train\nb,dog,train\nc,cat,train\nd,,train\n", "cat dog", "a b c d"
    )
    binary = np.zeros((6, 8), np.uint8)
    binary[2:4, 2:4] = 255
    _mask(root / "masks/a.png", binary)
    _mask(root / "masks/b.png", np.ones((6, 8), np.uint8))  # cat
    _mask(root / "masks/c.png", np.ones((6, 8), np.uint8))
    _mask(root / "masks/d.png", binary)  # no tag: nothing to be labeled
    binary_mask, other_class = check_data(root).warnings
    assert "have 255 but no class (photo 'a'" in binary_mask and "write 1, 2," in binary_mask
    assert "classes that the tags lack (photo 'b'" in other_class


def test_folders_and_json_of_other_splits_are_told(tmp_path):
    for name in ("train/dog/1", "train/cat/2", "valid/dog/3", "test/dog/4"):
        _photo(tmp_path / "f" / f"{name}.jpg")
    (warning,) = check_data(tmp_path / "f").warnings
    assert "folders beside those of the splits are not used: valid" in warning
    for split in ("train", "valid", "test"):
        _photo(tmp_path / "c" / split / "1.jpg")
        (tmp_path / "c" / split / "_annotations.coco.json").write_text(
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "1.jpg", "width": 8, "height": 6}],
                    "categories": [{"id": 1, "name": "dog"}],
                    "annotations": [
                        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}
                    ],
                }
            )
        )
    assert any(
        "JSON files that are not used: valid/_annotations.coco.json" in text
        for text in check_data(tmp_path / "c").warnings
    )


def test_counts(tmp_path):
    root = _data(
        tmp_path, "a,dog cat,train\nb,dog,train\nc,,train\nd,cat dog,val\n", photos="a b c"
    )
    _photo(root / "d.jpg", (20, 10))
    _mask(root / "masks/d.png", np.zeros((10, 20), np.uint8))
    report = check_data(root)
    assert report.problems == () and report.layout == "csv"
    assert report.class_names == ("cat", "dog")
    assert report.photos == {"train": 3, "val": 1} and report.untagged == 1
    assert report.tag_counts.tolist() == [[1, 2], [1, 1]]
    assert report.cooccurrence.tolist() == [[2, 2], [2, 3]]
    assert report.pairs == (("cat", "dog", 2),)
    assert report.sizes == ((6, 8), (6, 8), (10, 20)) and report.masks == 1


@settings(max_examples=20, deadline=None)
@given(tags=st.lists(st.sets(st.sampled_from("pqrs")), min_size=1, max_size=6))
def test_cooccurrence_is_the_product_of_the_tags(tmp_path_factory, tags):
    root = tmp_path_factory.mktemp("data")
    _data(
        root,
        "".join(f"x{i},{' '.join(t)},train\n" for i, t in enumerate(tags)),
        "p q r s",
        " ".join(f"x{i}" for i in range(len(tags))),
    )
    report = check_data(root, decode=False)
    present = np.array([[name in t for name in "pqrs"] for t in tags], np.int64)
    assert np.array_equal(report.cooccurrence, present.T @ present)
    assert np.array_equal(report.tag_counts[0], present.sum(0))


def test_all_problems_at_once(tmp_path):
    root = _data(
        tmp_path / "data",
        "a,dgo,train\nb,dog,train\nb,dog,train\nmissing,cat,train\n"
        "../x,dog,train\nbroken,dog,train\ncut,dog,val\ncolor,dog,train\n"
        "small,dog,train\nvalues,dog,train\n",
        "dog cat bird",
        "a b color small values",
    )
    (root / "broken.jpg").write_text("no photo")
    _photo(root / "whole.jpg", (64, 64))
    (root / "cut.jpg").write_bytes((root / "whole.jpg").read_bytes()[:-900])
    (root / "whole.jpg").unlink()
    _mask(root / "masks/color.png", np.zeros((6, 8, 3), np.uint8))
    _mask(root / "masks/small.png", np.zeros((3, 4), np.uint8))
    _mask(root / "masks/values.png", np.full((6, 8), 77, np.uint8))
    report = check_data(root)
    errors = " | ".join(report.errors)
    for part in (
        "unknown tag 'dgo'; did you mean 'dog'",
        "tags.csv line 2",
        "id 'b' is listed twice",
        "photo 'missing' does not exist",
        "'../x' leads out",
        "photo 'broken'",
        "photo 'cut'",
        "photo 'color': mask is color-coded",
        "photo 'small' has another size: mask 4x3, photo 8x6",
        "photo 'values': mask has the values 77",
    ):
        assert part in errors, part
    assert len(report.errors) == 9
    assert report.warnings == ("class 'bird' has no training photo",)
    headers = check_data(root, decode=False)
    assert "photo 'cut'" not in " | ".join(headers.errors)


def test_a_slip_in_a_tag_is_a_doubt_where_no_list_names_the_classes(tmp_path):
    rows = "".join(f"a{i},elephant,train\n" for i in range(3)) + "b,elepant,train\nc,bus,train\n"
    photos = "a0 a1 a2 b c"
    [warning] = check_data(_data(tmp_path / "x", rows, photos=photos)).warnings
    assert "'elepant' of photo 'b' [tags.csv line 5]" in warning and "'elephant'" in warning
    listed = check_data(_data(tmp_path / "y", rows, "elephant elepant bus", photos))
    assert listed.problems == ()


@pytest.mark.parametrize(
    ("rows", "classes", "says"),
    [
        ("a,,train\n", None, "nothing to learn"),
        ("a,,train\n", "dog", "nothing to learn"),
        ("a,dog,test\n", None, "no photo for training; splits found: test"),
        (
            "",
            None,
            "no photo for training: no line of tags.csv names one; write one line per photo",
        ),
        ("a,background,train\n", None, "'background' is not allowed"),
        ("a,dog,train\n", "dog dog", "class 'dog' is listed twice (classes.txt). Remove one"),
        (
            "a,dgo,train\n",
            "dog",
            "[tags.csv line 2]; tags.csv); correct the tag or add it to classes.txt",
        ),
    ],
)
def test_data_that_cannot_be_learned_from(tmp_path, rows, classes, says):
    errors = check_data(_data(tmp_path, rows, classes, "a")).errors
    assert any(says in error for error in errors), errors


@pytest.mark.parametrize("layout", ["csv", "folders", "voc"])
def test_problems_of_the_class_list_name_it(tmp_path, layout):
    if layout == "csv":
        _data(tmp_path, "a,dog,train\n", photos="a")
    elif layout == "folders":
        _photo(tmp_path / "dog/a.jpg")
    else:
        _photo(tmp_path / "JPEGImages/a.jpg")
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
    _photo(tmp_path / "a.jpg")
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


def test_outlines_that_would_crash_are_problems_of_their_photos(tmp_path):
    outlines = {
        "a": [[1, 2, 3, float("nan"), 5, 6]],
        "b": [[0, 0, 4, 0, 4, 4]],
        "c": [[0, 0, 4, 0, 4, 4]],
    }
    for name in outlines:
        _photo(tmp_path / f"{name}.jpg")
    (tmp_path / "annotations.json").write_text(
        json.dumps(
            {
                "images": [
                    {
                        "id": i,
                        "file_name": f"{name}.jpg",
                        "width": 10**9 if name == "b" else 8,
                        "height": 6,
                    }
                    for i, name in enumerate(outlines)
                ],
                "categories": [{"id": 1, "name": "dog"}],
                "annotations": [
                    {"id": i, "image_id": i, "category_id": 1, "segmentation": outline}
                    for i, outline in enumerate(outlines.values())
                ],
            }
        )
    )
    first, second = check_data(tmp_path).errors
    assert (
        "mask of photo 'a': damaged outline of photo 'a' (annotation 0): the coordinate nan"
        in first
    )
    assert "photo 'b' has another size: 1000000000x6 in the JSON, 8x6 px in its file" in second


def test_too_many_classes(tmp_path):
    names = " ".join(f"c{i}" for i in range(255))
    report = check_data(_data(tmp_path, f"a,{names},train\n", photos="a"))
    assert any("255 classes" in error for error in report.errors)
    names = " ".join(f"c{i}" for i in range(254))
    assert check_data(_data(tmp_path, f"a,{names},train\n", photos="a")).errors == ()


def test_a_photo_in_both_splits(tmp_path):
    root = _data(tmp_path, "a,dog,train\nb,dog,train\n", photos="a b")
    (root / "ImageSets").mkdir()
    shutil.move(root / "a.jpg", root / "ImageSets/a.jpg")
    (root / "JPEGImages").mkdir()
    for name in ("ImageSets/a.jpg", "b.jpg"):
        shutil.move(root / name, root / "JPEGImages" / Path(name).name)
    (root / "ImageSets/train.txt").write_text("a\nb\n")
    (root / "ImageSets/val.txt").write_text("b\n")
    errors = check_data(root).errors
    assert any("'b' is in both splits" in error for error in errors)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_photo_that_may_not_be_read(tmp_path):
    root = _data(tmp_path, "a,dog,train\n", photos="a")
    (root / "a.jpg").chmod(0)
    assert "permission" in check_data(root).errors[0]


def test_progress_counts_every_photo(tmp_path):
    seen: list[tuple[int, int]] = []
    check_data(
        _data(tmp_path, "a,dog,train\nb,dog,train\n"),
        progress=lambda done, all: seen.append((done, all)),
    )
    assert seen == [(1, 2), (2, 2)]


def test_shared_voc_folder(shared):
    report = check_data(shared / "voc12", decode=False)
    assert report.errors == () and report.photos == {"train": 849, "val": 300}
    # Its mask shows a sofa, of which its annotations know nothing.
    assert [w.split("[")[0] for w in report.warnings] == [
        "masks show classes that the tags lack (photo '2008_005245' "
    ]
    assert report.masks == 1149 and report.sizes[-1] == (500, 500)
