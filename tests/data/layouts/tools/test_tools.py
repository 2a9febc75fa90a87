"""Data folders of annotation tools: tags, splits and masks, and which layout is recognized."""

import json

import numpy as np
import pytest
from data_folders import write_array, write_photo, write_tag_table

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.validation_draw import with_validation
from tag2mask.errors import DataError
from tag2mask.formats.labelstudio.brush_rle import encode_brush

_HALF = np.array([[1, 1, 0, 0]] * 3, bool)


def _labelstudio(root):
    write_photo(root / "images/a.jpg")
    write_photo(root / "images/b.jpg")
    brush = {
        "original_width": 4,
        "original_height": 3,
        "value": {"rle": encode_brush(_HALF), "brushlabels": ["dog"]},
    }
    tasks = [
        {
            "data": {"image": f"/data/upload/1/1f0e2d3c-{name}.jpg", "split": split},
            "annotations": [{"result": result}],
        }
        for name, split, result in (("a", "train", [brush]), ("b", "validation", []))
    ]
    (root / "project-1.json").write_text(json.dumps(tasks))


def _fiftyone(root):
    write_photo(root / "data/a.jpg")
    write_photo(root / "data/b.jpg")
    content = {"classes": ["dog", "cat"], "labels": {"a": [0], "b": []}}
    (root / "labels.json").write_text(json.dumps(content))


def _yolo(root):
    for split, name in (("train", "a"), ("val", "b")):
        write_photo(root / f"images/{split}/{name}.jpg")
        (root / f"labels/{split}").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text("1 0 0 0.5 0 0.5 1 0 1\n")
    (root / "labels/val/b.txt").write_text("")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")


def _huggingface(root):
    for split, name, row in (("train", "a", {"tags": ["dog"]}), ("validation", "b", {"tags": []})):
        write_photo(root / f"{split}/{name}.jpg")
        write_array(root / f"{split}/masks/{name}.png", _HALF.astype(np.uint8) * 1)
        row |= {"file_name": f"{name}.jpg", "mask_file_name": f"masks/{name}.png"}
        (root / f"{split}/metadata.jsonl").write_text(json.dumps(row))
    (root / "classes.txt").write_text("background\ndog\n")


def _mvtec(root):
    for name in ("train/good/a", "train/good/b", "test/good/a", "test/dog/a", "test/dog/b"):
        write_photo(root / f"{name}.png")
    write_array(root / "ground_truth/dog/a_mask.png", _HALF.astype(np.uint8) * 255)


_ADD = {
    "labelstudio": _labelstudio,
    "fiftyone": _fiftyone,
    "yolo": _yolo,
    "huggingface": _huggingface,
    "mvtec": _mvtec,
}
_MASKED = {"labelstudio": "a", "yolo": "train/a", "huggingface": "train/a", "mvtec": "test/dog/a"}


@pytest.mark.parametrize("layout", _ADD)
def test_tags_and_masks(tmp_path, layout):
    _ADD[layout](tmp_path)
    found = read_inventory(tmp_path)
    assert found.layout == layout and found.problems == ()
    tags = {entry.id: entry.tags for entry in found.entries}
    tagged = [id for id, own in tags.items() if own == ("dog",)]
    assert tagged == {
        "mvtec": ["test/dog/a", "test/dog/b"],
        "yolo": ["train/a"],
        "huggingface": ["train/a"],
    }.get(layout, ["a"])
    assert all(own in ((), ("dog",)) for own in tags.values())
    assert found.class_names == {"fiftyone": ("dog", "cat"), "yolo": ("cat", "dog")}.get(
        layout, ("dog",)
    )
    id = _MASKED.get(layout)
    stamped = {entry.id for entry in found.entries if entry.mask_stamp}
    if id is None:
        assert not stamped
        return
    assert id in stamped
    value = found.class_names.index("dog") + 1
    np.testing.assert_array_equal(found.mask_drawer.draw(id, (3, 4)), _HALF * value)


@pytest.mark.parametrize("layout", ["labelstudio", "yolo", "huggingface"])
def test_splits(tmp_path, layout):
    _ADD[layout](tmp_path)
    found = read_inventory(tmp_path)
    assert [entry.split for entry in found.entries] == ["train", "val"]


@pytest.mark.parametrize("layout", _ADD)
def test_a_table_of_tags_next_to_it_has_priority(tmp_path, layout):
    _ADD[layout](tmp_path)
    write_tag_table(tmp_path, "image,tags\nimages/a.jpg,cow\n")
    write_photo(tmp_path / "images/a.jpg")
    assert read_inventory(tmp_path).layout == "csv"
    assert read_inventory(tmp_path, layout).layout == layout


@pytest.mark.parametrize("layout", _ADD)
def test_a_layout_that_is_not_there(tmp_path, layout):
    with pytest.raises(DataError):
        read_inventory(tmp_path, layout)


def test_files_of_two_tools_are_named(tmp_path):
    _labelstudio(tmp_path)
    _yolo(tmp_path)
    with pytest.raises(DataError, match="2 annotation tools: labelstudio, yolo"):
        read_inventory(tmp_path)


def test_mvtec_draws_half_of_each_defect(tmp_path):
    _mvtec(tmp_path)
    options = SourceOptions(val_fraction=0.2)
    found = with_validation(read_inventory(tmp_path, options=options), options, dict)
    defects = [entry.split for entry in found.entries if entry.tags]
    assert sorted(defects) == ["train", "val"] and len(found.entries) == 5
    assert any("prepare.val_fraction 0.5" in remark for remark in found.remarks)
    assert any("train/ has no defects" in remark for remark in found.remarks)
    options = SourceOptions(train_split="test", val_split=None)
    found = read_inventory(tmp_path, options=options)
    assert {entry.id.partition("/")[0] for entry in found.entries} == {"test"}
    write_photo(tmp_path / "train/dog/c.png")
    found = read_inventory(tmp_path)
    assert {entry.id.partition("/")[0] for entry in found.entries} == {"train"}


def test_labels_without_photos_are_listed(tmp_path):
    _yolo(tmp_path)
    (tmp_path / "images/train/a.jpg").unlink()
    (tmp_path / "labels/train/gone.txt").write_text("0 .5 .5 .1 .1")
    found = read_inventory(tmp_path)
    errors = [problem for problem in found.problems if not problem.warning]
    assert [problem.photo for problem in errors] == ["train/a", "train/gone"]


def test_several_exports_of_label_studio(tmp_path):
    _labelstudio(tmp_path)
    (tmp_path / "project-2.json").write_text((tmp_path / "project-1.json").read_text())
    with pytest.raises(DataError, match=r"several exports.*project-1.json, project-2.json"):
        read_inventory(tmp_path)


def test_one_label_of_some_photos_and_lists_of_others(tmp_path):
    _fiftyone(tmp_path)
    content = {"classes": ["dog", "cat"], "labels": {"a": 0, "b": ["dog", "cat"]}}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    [problem] = read_inventory(tmp_path).problems
    assert problem.warning and "one label may not be all that a photo shows" in problem.message


def _json_min(root, *fields):
    for name in "ab":
        write_photo(root / f"images/{name}.jpg")
    tasks = [
        {"image": f"{name}.jpg", "id": number, **own, "annotator": 1}
        for number, (name, own) in enumerate(zip("ab", fields, strict=True))
    ]
    (root / "project.json").write_text(json.dumps(tasks))
    found = read_inventory(root)
    return found, [problem.message for problem in found.problems]


def test_texts_of_json_min_that_may_be_comments_are_named(tmp_path):
    found, problems = _json_min(
        tmp_path, {"choice": "dog"}, {"choice": "cat", "comment": "left side blurry"}
    )
    assert found.class_names == ("cat", "dog", "left side blurry")
    [message] = problems
    assert "those of 'choice', 'comment' are classes; if one has comments, export JSON" in message


def test_the_only_labels_of_json_min_are_classes(tmp_path):
    found, problems = _json_min(tmp_path, {"choice": "dog"}, {"choice": {"choices": ["cat"]}})
    assert found.class_names == ("cat", "dog") and problems == []
