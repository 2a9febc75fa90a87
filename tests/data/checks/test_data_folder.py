"""The full check of a data folder: photos, masks against tags, and counts."""

import json
import os

import numpy as np
import pytest
from data_folders import write_array, write_data, write_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.masks import write_mask
from tag2mask.data.prepare.measure import measure_photos


def test_masks_with_different_palettes_are_reported(tmp_path):
    rows = "a,dog,train\nb,dog,train\nc,dog,train\nd,,train\n"
    root = write_data(tmp_path, rows, photos="a b c d")
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
    image.save(root / "masks" / "b.png")  # colors of values that are not classes may differ
    assert check_data(root).problems == ()


def test_masks_that_match_no_photo_are_reported(tmp_path):
    root = write_data(tmp_path, "a,dog,train\nb,,train\n", photos="a b")
    write_array(root / "masks/a_mask.png", np.zeros((6, 8), np.uint8))
    (warning,) = check_data(root).warnings
    assert "1 mask matches no photo: masks/a_mask.png" in warning
    assert "instead of" not in warning


def test_a_mask_without_the_folders_of_its_photo_is_reported_with_its_path(tmp_path):
    rows = "images/a.jpg,dog,train\nimages/b.jpg,,train\n"
    root = write_data(tmp_path, rows, photos="images/a images/b")
    write_array(root / "masks/a.png", np.zeros((6, 8), np.uint8))
    (warning,) = check_data(root).warnings
    assert "masks/images/a.png instead of masks/a.png" in warning
    (root / "masks/images").mkdir()
    (root / "masks/a.png").rename(root / "masks/images/a.png")
    assert not any("no photo" in warning for warning in check_data(root).warnings)


def test_masks_and_tags_that_contradict_each_other_are_reported(tmp_path):
    root = write_data(
        tmp_path, "a,dog,train\nb,dog,train\nc,cat,train\nd,,train\n", "cat dog", "a b c d"
    )
    binary = np.zeros((6, 8), np.uint8)
    binary[2:4, 2:4] = 255
    write_array(root / "masks/a.png", binary)
    write_array(root / "masks/b.png", np.ones((6, 8), np.uint8))  # cat
    write_array(root / "masks/c.png", np.ones((6, 8), np.uint8))
    write_array(root / "masks/d.png", binary)  # untagged: no class is missing
    binary_mask, other_class = check_data(root).warnings
    assert "have 255 but no class (photo 'a'" in binary_mask and "write 1, 2," in binary_mask
    assert "classes that the tags lack (photo 'b'" in other_class


def test_folders_and_json_of_other_splits_are_reported(tmp_path):
    for name in ("train/dog/1", "train/cat/2", "extra/dog/3", "test/dog/4"):
        write_photo(tmp_path / "f" / f"{name}.jpg")
    (warning,) = check_data(tmp_path / "f").warnings
    assert "folders next to those of the splits are not used: extra" in warning
    for split in ("train", "extra", "test"):
        write_photo(tmp_path / "c" / split / "1.jpg")
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
        "JSON files that are not used: extra/_annotations.coco.json" in text
        for text in check_data(tmp_path / "c").warnings
    )


def test_counts(tmp_path):
    root = write_data(
        tmp_path, "a,dog cat,train\nb,dog,train\nc,,train\nd,cat dog,val\n", photos="a b c"
    )
    write_photo(root / "d.jpg", (20, 10))
    write_array(root / "masks/d.png", np.full((10, 20), 1, np.uint8))
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
    write_data(
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
    root = write_data(
        tmp_path / "data",
        "a,dgo,train\nb,dog,train\nb,dog,val\nmissing,cat,train\n"
        "../x,dog,train\nbroken,dog,train\ncut,dog,val\ncolor,dog,train\n"
        "small,dog,train\nvalues,dog,train\n",
        "dog cat bird",
        "a b color small values",
    )
    (root / "broken.jpg").write_text("no photo")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    write_array(root / "complete.jpg", noise)
    (root / "cut.jpg").write_bytes((root / "complete.jpg").read_bytes()[:-900])
    (root / "complete.jpg").unlink()
    write_array(root / "masks/color.png", np.zeros((6, 8, 3), np.uint8))
    write_array(root / "masks/small.png", np.zeros((3, 4), np.uint8))
    write_array(root / "masks/values.png", np.full((6, 8), 77, np.uint8))
    report = check_data(root)
    errors = " | ".join(report.errors)
    for part in (
        "unknown tag 'dgo'; did you mean 'dog'",
        "tags.csv line 2",
        "photo 'b' has split 'train' in tags.csv line 3 and 'val' in tags.csv line 4",
        "photo 'missing' does not exist",
        "'../x' leads out",
        "photo 'broken'",
        "photo 'cut'",
        "photo 'color': mask is color-coded",
        "photo 'small' has a different size: mask 4x3, photo 8x6",
        "photo 'values': mask has the values 77",
    ):
        assert part in errors, part
    assert len(report.errors) == 9
    assert report.warnings == ("class 'bird' has no training photo",)
    headers = check_data(root, decode=False)
    assert "photo 'cut'" not in " | ".join(headers.errors)


def test_outlines_that_would_crash_cost_the_masks_of_their_photos(tmp_path):
    outlines = {
        "a": [[1, 2, 3, float("nan"), 5, 6]],
        "b": [[0, 0, 4, 0, 4, 4]],
        "c": [[0, 0, 4, 0, 4, 4]],
    }
    for name in outlines:
        write_photo(tmp_path / f"{name}.jpg", (8, 6))
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
    report = check_data(tmp_path)
    assert report.errors == () and report.masks == 1
    damaged, misfit = [w for w in report.warnings if "no mask, since" in w]
    assert "a.jpg (annotation 0: the coordinate nan" in damaged
    assert (
        "photo 'b' has a different size: 1000000000x6 in annotations.json, 8x6 px in its file"
        in misfit
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_photo_without_read_permission(tmp_path):
    root = write_data(tmp_path, "a,dog,train\n", photos="a")
    (root / "a.jpg").chmod(0)
    assert "permission" in check_data(root).errors[0]


def test_long_checks_show_their_progress(tmp_path, monkeypatch, capsys):
    data = write_data(tmp_path, "a,dog,train\nb,dog,train\nc,dog,train\n")
    check_data(data, progress=True)
    assert capsys.readouterr().err == "", "done at once"
    monkeypatch.setattr("tag2mask.runtime.progress.PLAIN_SECONDS", 0.0)
    check_data(data, progress=True)
    measure_photos(read_inventory(data), None)
    shown = [line for line in capsys.readouterr().err.splitlines() if " left" in line]
    assert [line.split(",")[0] for line in shown] == [
        f"{step}: {done}/3" for step in ("data check", "prepare") for done in (1, 2, 3)
    ]
    check_data(data)
    assert capsys.readouterr().err == ""


def test_shared_voc_folder(shared):
    report = check_data(shared / "voc12", decode=False)
    assert report.errors == () and report.photos == {"train": 849, "val": 300}
    # Its mask shows a sofa that its annotations lack.
    assert [w.split("[")[0] for w in report.warnings] == [
        "masks show classes that the tags lack (photo '2008_005245' "
    ]
    assert report.masks == 1149 and report.sizes[-1] == (500, 500)
