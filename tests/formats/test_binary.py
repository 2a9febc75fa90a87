"""Masks of one class each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import combined, known, masked_photo, masks
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.binary import is_binary, read_binary, write_binary

NAMES = ("a.jpg", "my photo/ü 1.jpg", "x/a.png", "x/y/b.c.tif")
CLASSES = ClassSet(("dog", "traffic light", "犬"))


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(masks(), min_size=1, max_size=4))
def test_round_trip(tmp_path_factory, drawn):
    out = tmp_path_factory.mktemp("out")
    photos = [masked_photo(name, mask) for name, mask in zip(NAMES, drawn, strict=False)]
    result = write_binary(photos, CLASSES, out)
    assert result.photos == len(drawn)
    assert result.left_out_pixels == sum(int((mask == 255).sum()) for mask in drawn)
    read = {photo.file_name: photo for photo in read_binary(out)}
    assert set(read) == {photo.id for photo in photos}
    for photo, mask in zip(photos, drawn, strict=True):
        assert read[photo.id].size == photo.size
        np.testing.assert_array_equal(combined(read[photo.id], CLASSES), known(mask))


def test_the_files(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    write_binary([masked_photo("x/a.jpg", mask)], CLASSES, tmp_path)
    for name, expected in (("dog", [[0, 255, 0]]), ("犬", [[0, 0, 0]])):
        with Image.open(tmp_path / "masks" / name / "x/a.png") as image:
            assert image.mode == "L" and np.asarray(image).tolist() == expected


def test_names_that_cannot_be_folders_are_all_listed(tmp_path):
    classes = ClassSet(("a/b", "..", "dog", "Dog", "c:", ".x", "end."))
    with pytest.raises(ProblemsError) as caught:
        write_binary([masked_photo("a.jpg", np.zeros((1, 1), np.uint8))], classes, tmp_path)
    assert len(caught.value.problems) == 6 and not any(tmp_path.iterdir())


def test_masks_that_cannot_be_read_are_all_listed(tmp_path):
    good = np.zeros((2, 2), np.uint8)
    write_binary([masked_photo(f"{name}.jpg", good) for name in "abc"], CLASSES, tmp_path)
    Image.fromarray(good[:1]).save(tmp_path / "masks/dog/a.png")
    Image.fromarray(good + 100).save(tmp_path / "masks/dog/b.png")
    found = []
    with pytest.raises(ProblemsError) as caught:
        found.extend(read_binary(tmp_path / "masks"))
    sizes, values = caught.value.problems
    assert "have 2 sizes" in sizes and "other values than 0 and 255" in values
    assert [photo.file_name for photo in found] == ["c"]


def test_no_masks(tmp_path):
    with pytest.raises(DataError, match="no masks of classes"):
        read_binary(tmp_path)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"dog/a": 255, "cat/a": 0}, True),
        ({"dog/a": 0, "cat/a": 0}, True),
        ({"street/a": 0, "yard/b": 0}, False),
        ({"street/a": 1, "yard/b": 0}, False),
        ({"a": 255}, False),
        ({}, False),
    ],
)
def test_what_is_recognized(tmp_path, files, expected):
    for name, value in files.items():
        path = tmp_path / f"masks/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((1, 1), value, np.uint8)).save(path)
    assert is_binary(tmp_path) == expected
