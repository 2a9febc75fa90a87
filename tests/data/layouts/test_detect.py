"""Detection of the layout and its override."""

import os
from pathlib import Path

import pytest
from data_folders import ends_soon, write_photo

from tag2mask.data.layouts import detect
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError
from tag2mask.recipe.data_layouts import LAYOUTS


def _add_folders(root: Path) -> None:
    write_photo(root / "dog/a.jpg")


def _add_csv(root: Path) -> None:
    write_photo(root / "a.jpg")
    (root / "tags.csv").write_text("id,tags\na,dog\n")


def _add_coco(root: Path) -> None:
    write_photo(root / "images/a.jpg")
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, '
        '"category_id": 1}], "categories": [{"id": 1, "name": "dog"}]}'
    )


def _add_voc(root: Path) -> None:
    write_photo(root / "JPEGImages/a.jpg")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("a\n")
    if not (root / "tags.csv").exists():
        (root / "tags.csv").write_text("id,tags\na,dog\n")


def _add_cvat(root: Path) -> None:
    write_photo(root / "images/a.jpg")
    (root / "annotations.xml").write_text(
        '<annotations><image id="0" name="a.jpg"><tag label="dog"/></image></annotations>'
    )


def _add_labelme(root: Path) -> None:
    write_photo(root / "images/a.jpg")
    (root / "images/a.json").write_text(
        '{"flags": {"dog": true}, "shapes": [], "imagePath": "a.jpg"}'
    )


def _add_voc_xml(root: Path) -> None:
    write_photo(root / "images/a.jpg")
    (root / "images/a.xml").write_text("<annotation><object><name>dog</name></object></annotation>")


_ADD = {"folders": _add_folders, "csv": _add_csv, "coco": _add_coco, "voc": _add_voc}
_TOOLS = {"cvat": _add_cvat, "labelme": _add_labelme, "voc-xml": _add_voc_xml}


@pytest.mark.parametrize("layout", [*_ADD, *_TOOLS])
def test_each_layout_is_recognized(tmp_path, layout):
    {**_ADD, **_TOOLS}[layout](tmp_path)
    found = read_inventory(tmp_path)
    assert found.layout == layout and found.root == tmp_path.resolve()
    assert [(e.id, e.tags) for e in found.entries] == [("a", ("dog",))]


@pytest.mark.parametrize("layout", [*_ADD, *_TOOLS])
def test_pipes_among_the_files_are_not_read(tmp_path, layout):
    {**_ADD, **_TOOLS}[layout](tmp_path)
    write_photo(tmp_path / "masks/a.png")
    suffixes = ("json", "jsonl", "xml", "csv", "txt", "yaml", "xlsx", "npy")
    for folder in (path for path in [tmp_path, *tmp_path.rglob("*")] if path.is_dir()):
        for name in ("0.jpg", *(f"0.{suffix}" for suffix in suffixes), "predict.json"):
            os.mkfifo(folder / name)
        (folder / "1.jpg").symlink_to("0.jpg")
    with ends_soon():
        found = read_inventory(tmp_path)
    assert [(e.id, e.tags) for e in found.entries] == [("a", ("dog",))]


def test_the_order_of_the_layouts_and_its_override(tmp_path):
    for layout, add in _ADD.items():
        add(tmp_path)
        assert read_inventory(tmp_path).layout == layout  # each has priority over those before
    for layout in _ADD:
        assert read_inventory(tmp_path, layout).layout == layout


def test_every_layout_of_the_recipe_has_a_reader():
    assert {"auto", *detect._READERS} == {*LAYOUTS}


def test_a_relative_folder(tmp_path, monkeypatch):
    _add_csv(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert read_inventory(Path("data")).root == (tmp_path / "data").resolve()


def test_no_data(tmp_path):
    with pytest.raises(DataError, match="no such data folder"):
        read_inventory(tmp_path / "gone")
    with pytest.raises(DataError, match="no tagged photos found"):
        read_inventory(tmp_path)
    write_photo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"no tagged photos found.*tags\.csv"):
        read_inventory(tmp_path)
    with pytest.raises(DataError, match="a file, not a data folder"):
        read_inventory(tmp_path / "a.jpg")


@pytest.mark.parametrize("layout", _ADD)
def test_a_named_layout_that_does_not_match(tmp_path, layout):
    with pytest.raises(DataError, match=str(tmp_path)):
        read_inventory(tmp_path, layout)


def test_files_of_two_annotation_tools_are_named(tmp_path):
    for add in (_add_cvat, _add_labelme, _add_coco):
        add(tmp_path)
    with pytest.raises(DataError, match=r"3 annotation tools: coco, cvat, labelme.*--source coco"):
        read_inventory(tmp_path)
    assert read_inventory(tmp_path, "labelme").layout == "labelme"
    _add_csv(tmp_path)
    assert read_inventory(tmp_path, "cvat").layout == "cvat"


def test_photos_that_fiftyone_exported_without_a_label_are_left_out(tmp_path):
    """FiftyOne's ImageClassificationDirectoryTree: a folder per class, and one without."""
    for name in ("dog/a", "cat/b", "_unlabeled/c"):
        write_photo(tmp_path / f"{name}.jpg")
    found = read_inventory(tmp_path)
    assert found.layout == "folders" and found.class_names == ("cat", "dog")
    assert sorted(entry.id for entry in found.entries) == ["a", "b"]
    [problem] = found.problems
    assert problem.warning and "'_unlabeled' says that they are not labeled" in problem.message


@pytest.mark.parametrize("layout", _TOOLS)
def test_a_table_of_tags_has_priority_over_files_of_tools(tmp_path, layout):
    _TOOLS[layout](tmp_path)
    _add_csv(tmp_path)
    assert read_inventory(tmp_path).layout == "csv"
