"""Ultralytics' semantic segmentation: what is written is read, and follows their rules."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, masked_photo, masks
from PIL import Image

from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.ultralytics.data_yaml import read_data_yaml
from tag2mask.formats.ultralytics.semantic import (
    read_ultralytics,
    write_ultralytics,
)

NAMES = ("a.jpg", "my photo/ü 1.jpg", "x/a.png", "x/y/b.c.tif")


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(masks(), max_size=4))
def test_round_trip(tmp_path_factory, drawn):
    out = tmp_path_factory.mktemp("out")
    photos = [
        masked_photo(name, mask, "val" if index == 1 else "train")
        for index, (name, mask) in enumerate(zip(NAMES, drawn, strict=False))
    ]
    result = write_ultralytics(photos, CLASSES, out)
    assert (result.photos, result.left_out_pixels) == (len(drawn), 0)
    read = {photo.file_name: photo for photo in read_ultralytics(out)}
    names = read_data_yaml(out / "data.yaml")["names"]
    assert tuple(names.values()) == CLASSES.mask_names
    assert len(read) == len(drawn)
    for photo, mask in zip(photos, drawn, strict=True):
        found = read[f"images/{photo.split}/{photo.file_name}".rpartition(".")[0]]
        assert found.split == photo.split and found.size == photo.size
        np.testing.assert_array_equal(combined(found), mask)


def test_the_files(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    photos = [masked_photo("x/a.jpg", mask), masked_photo("b.jpg", mask, "val")]
    assert write_ultralytics(photos, CLASSES, tmp_path).notes == ()
    with Image.open(tmp_path / "masks/train/x/a.png") as image:
        assert image.mode == "L" and np.asarray(image).tolist() == mask.tolist()
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()) == {
        "path": tmp_path.as_posix(),
        "train": "images/train",
        "val": "images/val",
        "masks_dir": "masks",
        "names": dict(enumerate(("background", *CLASSES.names))),
    }


def test_a_split_without_photos_names_the_folder_of_the_other(tmp_path):
    mask = np.zeros((1, 1), np.uint8)
    result = write_ultralytics([masked_photo("a.jpg", mask)], CLASSES, tmp_path)
    assert result.notes == (
        "val in data.yaml names images/train too, since no photo is of that split",
    )
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content["train"] == content["val"] == "images/train"
    assert [photo.split for photo in read_ultralytics(tmp_path)] == ["train"]


def test_photos_are_named_with_their_suffix_where_they_exist(tmp_path):
    mask = np.zeros((1, 1), np.uint8)
    photo = masked_photo("x/b.c.jpg", mask)
    write_ultralytics([photo], CLASSES, tmp_path)
    target = tmp_path / "images/train" / photo.file_name
    target.parent.mkdir(parents=True)
    target.write_bytes(b"")
    [found] = read_ultralytics(tmp_path / "data.yaml")
    assert found.file_name == "images/train/x/b.c.jpg"


def test_masks_of_others_without_a_background(tmp_path):
    (tmp_path / "masks/val").mkdir(parents=True)
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(tmp_path / "masks/val/a.png")
    (tmp_path / "d.yaml").write_text("path: /x\nval: images/val\nnames: [road, sky]\n")
    [found] = read_ultralytics(tmp_path)
    shown = {region.label: region.mask().tolist() for region in found.regions}
    assert shown == {
        "road": [[True, False, False]],
        "sky": [[False, True, False]],
        "ignore": [[False, False, True]],
    }


def test_masks_that_cannot_be_read_are_all_listed(tmp_path):
    mask = np.ones((2, 2), np.uint8)
    write_ultralytics([masked_photo(f"{n}.jpg", mask) for n in "abc"], CLASSES, tmp_path)
    (tmp_path / "masks/train/a.png").write_bytes(b"no image")
    Image.fromarray(mask * 9).save(tmp_path / "masks/train/b.png")
    found = []
    with pytest.raises(ProblemsError) as caught:
        found.extend(read_ultralytics(tmp_path))
    assert [photo.file_name for photo in found] == ["images/train/c"]
    first, second = caught.value.problems
    assert "a.png" in first and "the values 9" in second


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no data.yaml"),
        ("a: [", "not YAML"),
        ("a: 1", "no `names`"),
        ("names: {}", "lists no classes"),
        ("names: {x: a}", "not numbers"),
        ("names: [a]", "no folder of photos"),
        ("names: [a]\ntrain: photos/train", "no part `images`"),
        ("names: [a]\ntrain: images\nmasks_dir: ../x", "leads out of"),
        ("names: &a [*a, *a]", "more than"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    if text is not None:
        (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_ultralytics(tmp_path))


def test_folders_outside_are_not_read(tmp_path):
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((1, 1), np.uint8)).save(tmp_path / "masks/secret.png")
    inner = tmp_path / "data"
    inner.mkdir()
    (inner / "data.yaml").write_text(f"names: [a]\ntrain: [../images, images/{'a' * 300}]\n")
    assert list(read_ultralytics(inner)) == []
