"""Label Studio: predictions are read back, and each form of its exports is read."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, known, masked_photo, masks

from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.labelstudio.brush_rle import encode_brush
from tag2mask.formats.labelstudio.reading import is_labelstudio, read_labelstudio
from tag2mask.formats.labelstudio.writing import write_labelstudio

NAMES = ("a.jpg", "my photo/ü 1.jpg", "x/a#?.png", "x/y/b.c.tif")


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(masks(), max_size=4))
def test_round_trip(tmp_path_factory, drawn):
    out = tmp_path_factory.mktemp("out")
    photos = [
        masked_photo(name, mask, "val" if index == 1 else "train", 0.5)
        for index, (name, mask) in enumerate(zip(NAMES, drawn, strict=False))
    ]
    result = write_labelstudio(photos, CLASSES, out)
    ignored = sum(int((mask == 255).sum()) for mask in drawn)
    assert (result.photos, result.left_out_pixels) == (len(drawn), ignored)
    read = list(read_labelstudio(out / "tasks.json"))
    assert len(read) == len(drawn)
    for photo, mask, found in zip(photos, drawn, read, strict=True):
        assert (found.split, found.id) == (photo.split, photo.id)
        if known(mask).any():
            assert found.size == photo.size
            np.testing.assert_array_equal(combined(found), known(mask))
            assert {region.score for region in found.regions} == {0.5}
        else:
            assert found.regions == ()


def test_the_files(tmp_path):
    photo = masked_photo("my photo/a#1.jpg", np.ones((1, 2), np.uint8), score=0.25)
    write_labelstudio([photo], CLASSES, tmp_path, model_version="v1")
    [task] = json.loads((tmp_path / "tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=images/my%20photo/a%231.jpg"
    [prediction] = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("v1", 0.25)
    [result] = prediction["result"]
    assert result["value"]["rle"] == encode_brush(np.ones((1, 2), bool))
    assert (result["original_width"], result["original_height"]) == (2, 1)
    config = ElementTree.parse(tmp_path / "labeling_config.xml").getroot()
    brush = config.find("BrushLabels")
    assert config.find("Image").get("name") == result["to_name"] == brush.get("toName")
    assert brush.get("name") == result["from_name"]
    assert [label.get("value") for label in brush] == list(CLASSES.names)


def _item(kind, **value):
    size = {"original_width": 4, "original_height": 2}
    return {"type": kind, "from_name": "x", "to_name": "image", **size, "value": value}


def _read(tmp_path, tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    assert is_labelstudio(path)
    return list(read_labelstudio(path))


_BRUSH = encode_brush(np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool))
_RESULTS = [
    _item("choices", choices=["cat", "hot dog"]),
    _item("brushlabels", format="rle", rle=_BRUSH, brushlabels=["cat"]),
    _item("polygonlabels", points=[[0, 0], [50, 0], [50, 100], [0, 100]], polygonlabels=["dog"]),
    _item("rectanglelabels", x=0, y=0, width=9, height=9, rectanglelabels=["cow"]),
    {"type": "relation", "from_id": "a"},
]


def _check(photo):
    assert photo.file_name == "/data/upload/1/1f0e2d3c-a.jpg" and photo.size == (4, 2)
    assert photo.tags == ("cat", "hot dog")
    assert [(r.label, r.kind) for r in photo.regions] == [
        ("cat", "mask"),
        ("dog", "polygon"),
        ("cow", "box"),
    ]
    cat, dog, cow = photo.regions
    assert cat.mask().tolist() == [[True, False, False, False], [False] * 4]
    assert dog.mask().tolist() == [[True, True, False, False]] * 2
    assert cow.mask is None


def test_json(tmp_path):
    data = {"image": "/data/upload/1/1f0e2d3c-a.jpg", "name": "b.jpg"}
    [photo] = _read(tmp_path, [{"id": 1, "data": data, "annotations": [{"result": _RESULTS}]}])
    _check(photo)


def test_json_min(tmp_path):
    outlines = [
        {**item["value"], "original_width": 4, "original_height": 2} for item in _RESULTS[1:4]
    ]
    task = {
        "image": "/data/upload/1/1f0e2d3c-a.jpg",
        "sku": "x7",
        "id": 1,
        "choice": {"choices": ["cat", "hot dog"]},
        "outline": outlines,
        "annotator": 1,
        "annotation_id": 2,
        "created_at": "2024",
    }
    one = {"photo": "http://h/b.jpg?x=1", "id": 2, "choice": "dog", "annotator": 1}
    first, second = _read(tmp_path, [task, one])
    _check(first)
    assert (second.file_name, second.tags) == ("http://h/b.jpg?x=1", ("dog",))


def test_which_annotations_count(tmp_path):
    def task(name, **members):
        return {"id": 1, "data": {"image": name}, **members}

    def made(choice, **members):
        return {"result": [_item("choices", choices=[choice])], **members}

    read = _read(
        tmp_path,
        [
            task("a", annotations=[made("cat"), made("dog")]),
            task("b", annotations=[made("cat"), made("dog", ground_truth=True)]),
            task("c", annotations=[made("cat", was_cancelled=True), made("dog")]),
            task("d", annotations=[], predictions=[made("cat", score=0.5)]),
            task("e", annotations=[{"result": []}], predictions=[made("cat")]),
            task("f", annotations=[], predictions=[]),
            task("g", annotations=[made("cat", was_cancelled=True)]),
            task("h", annotations=[made("cat", was_cancelled=True)], predictions=[made("dog")]),
        ],
    )
    assert {photo.file_name: photo.tags for photo in read} == {
        "a": ("cat", "dog"),
        "b": ("dog",),
        "c": ("dog",),
        "d": ("cat",),
        "e": (),
    }


def test_tasks_that_cannot_be_read_are_all_listed(tmp_path):
    good = {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": []}]}
    bad = {"id": 2, "data": {"text": "x"}, "annotations": [{"result": []}]}
    worse = {"id": 3, "data": {"image": "a.jpg"}, "annotations": [7]}
    path = tmp_path / "a.json"
    endless = {"result": [{"original_width": 1e999, "original_height": 1, "value": {}}]}
    worst = {"id": 4, "data": {"image": "a.jpg"}, "annotations": [endless]}
    nameless = {"result": [_item("choices", choices=[None])]}
    last = {"id": 5, "data": {"image": "a.jpg"}, "annotations": [nameless]}
    path.write_text(json.dumps([good, bad, worse, worst, last, 5]))
    with pytest.raises(ProblemsError) as caught:
        list(read_labelstudio(path))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "task 2",
        "task 3",
        "task 4",
        "task 5",
        "task ?",
    ]
    assert "task 5: null is no name" in caught.value.problems[3]


@pytest.mark.parametrize("text", ["", "{}", "[{", "[" * 100_000, '[{"a": ' * 50_000])
def test_damaged_files(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert not is_labelstudio(path)
    with pytest.raises(DataError, match="not a list of Label Studio's tasks"):
        list(read_labelstudio(path))


@pytest.mark.parametrize(
    "outline",
    [{"rle": _BRUSH[:-3]}, {"rle": 10**15}, {"points": [[10**400, 0], [1, 1], [0, 1]]}],
)
def test_a_damaged_outline_is_an_error_when_it_is_drawn(tmp_path, outline):
    item = _item("brushlabels", brushlabels=["cat"], **outline)
    [photo] = _read(
        tmp_path, [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": [item]}]}]
    )
    with pytest.raises(DataError, match="damaged outline"):
        photo.regions[0].mask()
