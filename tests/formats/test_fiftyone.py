"""FiftyOne: masks are read back, and its labels of photos are tags."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, masked_photo, masks
from PIL import Image

from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.fiftyone import (
    fiftyone_classes,
    is_fiftyone,
    read_fiftyone,
    read_fiftyone_masks,
    write_fiftyone,
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
    result = write_fiftyone(photos, CLASSES, out)
    assert (result.photos, result.left_out_pixels) == (len(drawn), 0)
    read = {photo.file_name: photo for photo in read_fiftyone_masks(out)}
    assert len(read) == len(drawn)
    for photo, mask in zip(photos, drawn, strict=True):
        found = read[f"data/{photo.split}/{photo.file_name}".rpartition(".")[0]]
        assert found.split == photo.split and found.size == photo.size
        np.testing.assert_array_equal(combined(found), mask)


def test_the_files(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    place = tmp_path / '19" panels'
    write_fiftyone([masked_photo("x/a.jpg", mask)], CLASSES, tmp_path, place=place)
    with Image.open(tmp_path / "labels/train/x/a.png") as image:
        assert image.mode == "L" and np.asarray(image).tolist() == mask.tolist()
    targets = json.loads((tmp_path / "mask_targets.json").read_text(encoding="utf-8"))
    assert targets == {str(value): name for value, name in enumerate(CLASSES.mask_names)}
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    code = readme.partition("```python\n")[2].partition("```")[0]
    compile(code, "README.md", "exec")
    assert f"Path({json.dumps(place.as_posix())})" in code and "ImageSegmentationDirectory" in code


def _write(tmp_path, content):
    (tmp_path / "data/x").mkdir(parents=True)
    for name in ("a.jpg", "x/b.png"):
        (tmp_path / "data" / name).write_bytes(b"")
    (tmp_path / "labels.json").write_text(json.dumps(content))


def test_labels_of_photos(tmp_path):
    labels = {
        "a": 1,
        "x/b": "dog",
        "z" * 300 + "/z": "dog",
        "c": ["cat", 0],
        "d": None,
        "e": {"label": "cow", "confidence": 0.5},
        "f": [],
        "g": [{"label": 1, "bounding_box": [0, 0, 1, 1], "confidence": 0.25}],
    }
    _write(tmp_path, {"classes": ["cat", "dog"], "labels": labels})
    assert is_fiftyone(tmp_path) and fiftyone_classes(tmp_path) == ("cat", "dog")
    found = {photo.file_name: photo for photo in read_fiftyone(tmp_path)}
    assert {name: photo.tags for name, photo in found.items()} == {
        "data/a.jpg": ("dog",),
        "data/x/b.png": ("dog",),
        "data/" + "z" * 300 + "/z": ("dog",),
        "data/c": ("cat",),
        "data/e": ("cow",),
        "data/f": (),
        "data/g": (),
    }
    [box] = found["data/g"].regions
    assert (box.label, box.kind, box.score) == ("dog", "box", 0.25)


def test_labels_that_cannot_be_read_are_all_listed(tmp_path):
    _write(tmp_path, {"classes": ["cat"], "labels": {"a": 1, "b": 0, "../c": 0, "d": True}})
    found = []
    with pytest.raises(ProblemsError) as caught:
        found.extend(read_fiftyone(tmp_path))
    assert [photo.file_name for photo in found] == ["data/b"]
    assert len(caught.value.problems) == 3


def test_null_is_no_class(tmp_path):
    _write(tmp_path, {"classes": ["cat", None], "labels": {"a": 0}})
    assert is_fiftyone(tmp_path)
    with pytest.raises(DataError, match="`classes`: null is no name"):
        read_fiftyone(tmp_path)
    (tmp_path / "mask_targets.json").write_text('{"1": null}')
    with pytest.raises(DataError, match="null is no name"):
        read_fiftyone_masks(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"labels": []}', "[" * 100_000])
def test_damaged_files(tmp_path, text):
    _write(tmp_path, {})
    (tmp_path / "labels.json").write_text(text)
    assert not is_fiftyone(tmp_path)
    with pytest.raises(DataError):
        read_fiftyone(tmp_path)
    (tmp_path / "mask_targets.json").write_text(text if text != "{}" else '{"a": "b"}')
    with pytest.raises(DataError):
        read_fiftyone_masks(tmp_path)
