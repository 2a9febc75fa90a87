"""Lists of results, with and without the files that list their photos."""

import json

import numpy as np
import pytest

from tag2mask.errors import DataError
from tag2mask.formats.coco.results import is_coco_results, read_coco_results

CODE = {"size": [2, 3], "counts": [2, 4]}


def write_results(path, *results):
    path.write_text(json.dumps(list(results)))
    return path


def result(image, category=7, **more):
    return {"image_id": image, "category_id": category, "segmentation": CODE, "score": 0.5, **more}


def write_list(path, images, categories=((7, "dog"),)):
    content = {
        "images": [
            {"id": key, "file_name": name, "width": 3, "height": 2} for key, name in images.items()
        ],
        "categories": [{"id": key, "name": name} for key, name in categories],
        "annotations": [{"image_id": key, "category_id": 7, "iscrowd": 1} for key in images],
    }
    path.write_text(json.dumps(content))
    return path


def test_photos_and_classes_of_the_list(tmp_path):
    path = write_results(
        tmp_path / "r.json",
        result(42),
        result(5, segmentation=[[0, 0, 2, 0, 2, 2]], score=0.25),
        result(42, segmentation=None, bbox=[0, 0, 1, 1]),
    )
    listed = write_list(tmp_path / "val.json", {5: "b.jpg", 42: "x/a.jpg", 77: "never seen.jpg"})
    assert is_coco_results(path) and not is_coco_results(listed)
    found = {photo.file_name: photo for photo in read_coco_results(path, [listed])}
    assert {*found} == {"x/a.jpg", "b.jpg"}
    assert [(r.label, r.score, r.kind) for r in found["x/a.jpg"].regions] == [
        ("dog", 0.5, "mask"),
        ("dog", 0.5, "box"),
    ]
    assert found["x/a.jpg"].size == (3, 2)
    assert np.array_equal(found["x/a.jpg"].regions[0].mask(), [[0, 1, 1], [0, 1, 1]])
    assert [r.score for r in found["b.jpg"].regions] == [0.25]


def test_without_a_list_ids_and_file_names_are_the_names(tmp_path):
    path = write_results(
        tmp_path / "r.json",
        result("street/a"),
        result(42, "cat"),
        result(3, file_name="0003.jpg"),
    )
    found = {photo.file_name: photo for photo in read_coco_results(path)}
    assert {name: photo.regions[0].label for name, photo in found.items()} == {
        "street/a": "7",
        "42": "cat",
        "0003.jpg": "7",
    }
    assert found["42"].size is None and found["42"].regions[0].mask().shape == (2, 3)


def test_photos_of_several_lists(tmp_path):
    path = write_results(tmp_path / "r.json", result(1), result(2))
    lists = [
        write_list(tmp_path / "train.json", {1: "a.jpg"}),
        write_list(tmp_path / "val.json", {2: "b.jpg"}),
    ]
    assert [photo.file_name for photo in read_coco_results(path, lists)] == ["a.jpg", "b.jpg"]
    other = write_list(tmp_path / "test.json", {1: "c.jpg"}, [(7, "cat")])
    with pytest.raises(DataError) as caught:
        read_coco_results(path, [*lists, other])
    text = str(caught.value)
    assert "test.json: image 1 is 'c.jpg', elsewhere 'a.jpg'" in text
    assert "test.json: category 7 is 'cat', elsewhere 'dog'" in text


def test_all_results_that_cannot_be_used_are_listed(tmp_path):
    path = write_results(
        tmp_path / "r.json", result(1), result(99), result(1, 8), {"image_id": 1}, 5, result(1.5)
    )
    listed = write_list(tmp_path / "val.json", {1: "a.jpg"})
    with pytest.raises(DataError) as caught:
        read_coco_results(path, [listed])
    text = str(caught.value)
    for part in (
        "result 4 lacks the key 'category_id'",
        "result 5 is damaged",
        "result 6 is damaged: the id 1.5 is neither",
        "results of 1 photo that the given files don't list: 99;",
        "results of 1 category that the given files don't list: 8;",
    ):
        assert part in text


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "[]", "[5]", "[" * 100_000, '[{"image_id": 1}]', '[{"image_id": 1']
)
def test_other_files(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    assert not is_coco_results(path)
    if text not in ("[]",):
        with pytest.raises(DataError):
            read_coco_results(path)
    assert not is_coco_results(tmp_path / "none.json")
