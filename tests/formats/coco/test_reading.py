"""COCO JSON of any tool as annotated photos."""

import json

import numpy as np
import pytest

from tag2mask.errors import DataError
from tag2mask.formats.coco.reading import read_coco

CODE = {"size": [2, 3], "counts": [2, 4]}


def write_instances(path, annotations, **image):
    values = {
        "images": [{"id": 5, "file_name": "a.jpg", **image}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 7, **a} for a in annotations],
        "categories": [{"id": 7, "name": "dog"}],
    }
    path.write_text(json.dumps(values))
    return path


def test_scores_crowds_boxes_and_kinds(tmp_path):
    annotations = [
        {"segmentation": CODE, "score": 0.25},
        {"segmentation": CODE, "iscrowd": 1, "score": "high"},
        {"segmentation": [[0, 0, 2, 0, 2, 2]], "score": float("nan")},
        {"bbox": [0, 0, 1, 1], "score": True},
    ]
    path = write_instances(tmp_path / "a.json", annotations, width=3, height=2)
    [photo] = read_coco(path)
    found = [(region.label, str(region.score), region.kind) for region in photo.regions]
    assert found == [
        ("dog", "0.25", "mask"),
        ("ignore", "nan", "mask"),
        ("dog", "nan", "polygon"),
        ("dog", "nan", "box"),
    ]
    assert photo.regions[3].mask is None
    assert np.array_equal(photo.regions[0].mask(), [[False, True, True], [False, True, True]])


def test_a_photo_without_size(tmp_path):
    path = write_instances(
        tmp_path / "a.json", [{"segmentation": CODE}, {"segmentation": [[0, 0, 2, 0, 2, 2]]}]
    )
    [photo] = read_coco(path)
    assert photo.size is None and photo.regions[0].mask().shape == (2, 3)
    with pytest.raises(DataError, match=r"annotation 1\).*width and height"):
        photo.regions[1].mask()
    [photo] = read_coco(path, {"a.jpg": (4, 3)}.__getitem__)
    assert photo.regions[0].mask().shape == (2, 3)  # of the code; who draws compares them
    assert photo.regions[1].mask().shape == (3, 4)


@pytest.mark.parametrize(
    ("written", "crowd"),
    [(0, False), ("0", False), (False, False), (None, False), (1, True), ("1", True), (True, True)],
)
def test_crowds_as_numbers_texts_and_flags(tmp_path, written, crowd):
    path = write_instances(tmp_path / "a.json", [{"segmentation": CODE, "iscrowd": written}])
    [photo] = read_coco(path)
    assert [region.label for region in photo.regions] == ["ignore" if crowd else "dog"]


@pytest.mark.parametrize("written", ["yes", 2, [1]])
def test_a_crowd_that_is_neither_is_named(tmp_path, written):
    path = write_instances(tmp_path / "a.json", [{"segmentation": CODE, "iscrowd": written}])
    with pytest.raises(DataError, match="annotations item 1 is damaged: its iscrowd is"):
        read_coco(path)


@pytest.mark.parametrize(
    ("segmentation", "size", "message"),
    [
        ({"size": [2, 3], "counts": [7]}, {"width": 3, "height": 2}, "come to 7 pixels"),
        ({"size": [2, 3], "counts": [2, 4]}, {"width": 4, "height": 2}, "is not the photo's"),
        ([[0, 0, 9, 0, 9, 9]], {"width": 10**9, "height": 10**9}, "more than a photo has"),
        ({"size": [10**9] * 2, "counts": [10**18]}, {}, "more than a photo has"),
        ([[0, 0, 1e300, 0, 9, 9]], {"width": 3, "height": 2}, "far outside"),
        ([["x"] * 6], {"width": 3, "height": 2}, "list of numbers"),
    ],
)
def test_a_damaged_outline_is_an_error_when_drawn(tmp_path, segmentation, size, message):
    path = write_instances(tmp_path / "a.json", [{"segmentation": segmentation}], **size)
    [photo] = read_coco(path)
    with pytest.raises(DataError, match=f"annotation 1.*{message}"):
        photo.regions[0].mask()


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = write_instances(tmp_path / "a.json", [{"segmentation": CODE}], width=3, height=2)
    [photo] = read_coco(path)
    path.write_text("")
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"'\{' expected, '\[' found"),
        ('{"images": ' + "[" * 100_000, "nested too deeply"),
        ('{"images": [{"id": 1', "not JSON|cut off"),
        ('{"images": [{"id": ' + "9" * 5000 + "}]}", "not COCO JSON"),
        ('{"images": [{"id": 1}], "categories": [{"id": 1, "name": "dog"}]}', "lacks the key"),
        (
            '{"images": [{"id": 1, "file_name": null}], "categories": [{"id": 1, "name": "dog"}]}',
            "images item 1 is damaged: null is no name",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": null}]}',
            "categories item 1 is damaged: null is no name",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "dog"}],'
            '"annotations": [{"image_id": 2, "category_id": 1}]}',
            "doesn't list",
        ),
    ],
)
def test_files_that_are_not_usable(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_coco(path)
