"""Files of annotation tools that are not read are named, with the tool and what to do."""

import json

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.csv_table import read_csv
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError

_VIA = {"_via_settings": {}, "_via_img_metadata": {"a.jpg7": {"filename": "a.jpg", "regions": []}}}
_EXPORTS = {
    "results.json": (
        "a model (COCO's list of results)",
        json.dumps([{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 0.5}]),
    ),
    "project-1.json": ("Label Studio", json.dumps([{"id": 1, "image": "/data/a.jpg"}])),
    "labels.json": ("FiftyOne", json.dumps({"classes": ["cat"], "labels": [["a", 0]]})),
    "via.json": ("VGG Image Annotator", json.dumps(_VIA)),
    "data.yaml": ("YOLO", "train: images/train\nnames:\n  0: cat\n"),
    "labels.txt": ("YOLO", "0 0.5 0.5 0.25 0.125\n"),
    "obj.names": ("YOLO", "cat\ndog\n"),
    "metadata.jsonl": ("Hugging Face", '{"file_name": "a.jpg", "text": "a cat"}\n'),
    "train-0.parquet": ("records", "PAR1"),
    "parts list.xlsx": ("`tag2mask data import`", "PK"),
}


@pytest.mark.parametrize("photos", ["a.jpg", "data/a.jpg", "images/a.jpg"])
@pytest.mark.parametrize("name", _EXPORTS)
def test_an_export_is_named_with_its_tool_and_what_to_do(tmp_path, name, photos):
    tool, text = _EXPORTS[name]
    write_photo(tmp_path / photos)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_inventory(tmp_path)
    message = str(caught.value)
    assert f"{name} is of " in message and tool in message and "not read" in message
    assert "tags.csv" in message and "docs/reference/data.md" in message


@pytest.mark.parametrize("path", ["images/metadata.csv", "ann/a.jpg.json"])
def test_exports_in_folders_are_named(tmp_path, path):
    write_photo(tmp_path / "train/a.jpg")
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"asset": {}, "regions": []}')
    with pytest.raises(DataError, match=f"{path} is of "):
        read_inventory(tmp_path)


def test_class_folders_next_to_an_export_are_read_with_a_warning(tmp_path):
    for name in ("cat", "dog"):
        write_photo(tmp_path / name / f"{name}.jpg")
    (tmp_path / "labels.json").write_text(_EXPORTS["labels.json"][1])
    found = read_inventory(tmp_path)
    [problem] = found.problems
    assert found.class_names == ("cat", "dog") and problem.warning
    assert "labels.json is of FiftyOne" in problem.message


@pytest.mark.parametrize("name", ["notes.json", "config.yaml", "feed.xml", "a.json"])
def test_other_files_are_not_exports(tmp_path, name):
    for folder in ("cat", "dog"):
        write_photo(tmp_path / folder / f"{folder}.jpg")
    (tmp_path / name).write_text('{"a": 1}' if name.endswith("json") else "<a>b</a>")
    assert read_inventory(tmp_path).problems == ()


def test_data_whose_training_photos_show_no_defect(tmp_path):
    for folder in ("train/good", "test/good"):
        write_photo(tmp_path / folder / f"{folder[:2]}.jpg")
    with pytest.raises(DataError, match=r"as in MVTec AD.*test/.*rename good/ to background/"):
        read_inventory(tmp_path)


def test_metadata_csv_of_hugging_face_is_read(tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_tag_table(tmp_path, "file_name,label\na.jpg,cat\n", "metadata.csv")
    [entry] = read_csv(tmp_path, SourceOptions()).entries
    assert entry.image == "a.jpg" and entry.tags == ("cat",)
