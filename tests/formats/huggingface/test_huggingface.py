"""Hugging Face's ImageFolder: what is written is read, and each form of tags is read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, masked_photo, masks
from PIL import Image

from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.huggingface.reading import has_tags, metadata_files, read_huggingface
from tag2mask.formats.huggingface.writing import write_huggingface

NAMES = ("a.jpg", "my photo/ü 1.jpg", "x/a.png", "x/y/b.c.tif")


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(masks(), min_size=1, max_size=4))
def test_round_trip(tmp_path_factory, drawn):
    out = tmp_path_factory.mktemp("out")
    photos = [
        masked_photo(name, mask, "val" if index == 1 else "train")
        for index, (name, mask) in enumerate(zip(NAMES, drawn, strict=False))
    ]
    result = write_huggingface(photos, CLASSES, out)
    assert (result.photos, result.left_out_pixels) == (len(drawn), 0)
    read = {photo.file_name: photo for photo in read_huggingface(out)}
    assert len(read) == len(drawn)
    for photo, mask in zip(photos, drawn, strict=True):
        found = read[f"{photo.split}/images/{photo.file_name}"]
        assert (found.split, found.size, found.id) == (photo.split, photo.size, photo.id)
        np.testing.assert_array_equal(combined(found), mask)


def test_the_files(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    write_huggingface([masked_photo("x/ü.jpg", mask)], CLASSES, tmp_path)
    [row] = (tmp_path / "train/metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row) == {
        "file_name": "images/x/ü.jpg",
        "mask_file_name": "masks/x/ü.png",
        "photo_id": "x/ü",
    }
    with Image.open(tmp_path / "train/masks/x/ü.png") as image:
        assert image.mode == "L" and np.asarray(image).tolist() == mask.tolist()
    assert (tmp_path / "classes.txt").read_text(encoding="utf-8").split("\n")[0] == "background"
    assert not has_tags(tmp_path / "train/metadata.jsonl")


@pytest.mark.parametrize(
    ("row", "tags"),
    [
        ({"tags": ["cat", "hot dog"]}, ("cat", "hot dog")),
        ({"labels": "cat;hot dog"}, ("cat", "hot dog")),
        ({"labels": "cat, dog"}, ("cat", "dog")),
        ({"label": "hot, dog"}, ("hot, dog",)),
        ({"label": 3}, ("3",)),
        ({"label": None}, ()),
        ({"tags": '["cat", "dog"]'}, ("cat", "dog")),
        ({"tags": "['cat', 'dog']"}, ("cat", "dog")),
        ({"objects": {"bbox": [], "categories": ["cat", "cat"]}}, ("cat",)),
        ({"objects": [{"category": "cat"}, {"category": "dog"}]}, ("cat", "dog")),
        ({"objects": [{"category": "cat"}, {"bbox": []}]}, ("cat",)),
    ],
)
def test_tags(tmp_path, row, tags):
    path = tmp_path / "metadata.jsonl"
    path.write_text(json.dumps({"file_name": "train/a.jpg"} | row))
    assert has_tags(path)
    [photo] = read_huggingface(tmp_path)
    assert (photo.file_name, photo.split, photo.tags) == ("train/a.jpg", "train", tags)


def test_a_table_per_split(tmp_path):
    for split, cell in (("train", "cat"), ("validation", '"[""cat"", ""dog""]"')):
        (tmp_path / split).mkdir()
        (tmp_path / split / "metadata.csv").write_text(f"file_name,tags\na.jpg,{cell}\n")
    assert len(metadata_files(tmp_path)) == 2
    found = {photo.file_name: (photo.split, photo.tags) for photo in read_huggingface(tmp_path)}
    assert found == {
        "train/a.jpg": ("train", ("cat",)),
        "validation/a.jpg": ("validation", ("cat", "dog")),
    }


def test_lines_and_masks_that_cannot_be_read_are_all_listed(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n")
    deep = "[" * 1000
    lines = [
        '{"file_name": "a.jpg"}',
        "{",
        "[]",
        "{}",
        '{"file_name": "../a.jpg"}',
        '{"file_name": "a.jpg", "mask_file_name": "/etc/passwd"}',
        '{"file_name": "a.jpg", "mask_file_name": "gone.png"}',
        deep,
        '{"file_name": "a.jpg", "tags": [{"name": "cat"}]}',
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    found = []
    with pytest.raises(ProblemsError) as caught:
        found.extend(read_huggingface(tmp_path))
    assert [photo.file_name for photo in found] == ["a.jpg"]
    problems = caught.value.problems
    assert len(problems) == 8
    for text, problem in zip(
        (
            "JSON",
            "object",
            "no file_name",
            "leads out",
            "absolute",
            "missing",
            "JSON",
            "tags: an object is no name",
        ),
        problems,
        strict=True,
    ):
        assert text in problem


def test_true_is_no_tag(tmp_path):
    """Of ``label: true`` nobody knows whether it is a class or says that there is one."""
    lines = [{"file_name": "a.jpg", "label": True}, {"file_name": "b.jpg", "tags": [None, "cat"]}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = []
    with pytest.raises(ProblemsError, match="line 1: tags: true is no name"):
        found.extend(read_huggingface(tmp_path))
    assert [photo.tags for photo in found] == [("cat",)]


def test_a_line_has_a_limit(tmp_path):
    path = tmp_path / "metadata.jsonl"
    path.write_bytes(b'{"file_name": "a.jpg", "tags": [' + b"[]," * (6 << 20))
    assert not has_tags(path)
    with pytest.raises(DataError, match="line 1 has more than 16 MiB"):
        list(read_huggingface(tmp_path))


def test_no_metadata(tmp_path):
    with pytest.raises(DataError, match=r"no metadata\.jsonl"):
        list(read_huggingface(tmp_path))


def test_masks_without_a_list_of_classes(tmp_path):
    write_huggingface([masked_photo("a.jpg", np.ones((1, 1), np.uint8))], CLASSES, tmp_path)
    [photo] = read_huggingface(tmp_path / "train/metadata.jsonl")
    assert [region.label for region in photo.regions] == [CLASSES.names[0]]
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no classes\.txt"):
        list(read_huggingface(tmp_path))
    [photo] = read_huggingface(tmp_path, with_masks=False)
    assert photo.regions == ()
