"""LabelMe's JSON as a data folder."""

import json

import numpy as np
import pytest
from data_folders import write_photo

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.tools.labelme import is_labelme_folder, read_labelme_folder
from tag2mask.errors import DataError


def write_labels(path, photo, *shapes, **flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.0.1", "flags": flags, "shapes": list(shapes), "imagePath": photo}
    path.write_text(json.dumps({**content, "imageWidth": 4, "imageHeight": 3}))


def test_flags_shapes_and_masks(tmp_path):
    for name in ("x/a.jpg", "y/a.jpg", "c.jpg", "d.jpg"):
        write_photo(tmp_path / name)
    square = {"label": "dog", "shape_type": "polygon", "points": [[1, 0], [3, 0], [3, 2], [1, 2]]}
    write_labels(tmp_path / "x/a.json", "a.jpg", square)
    write_labels(tmp_path / "labels/a.json", "..\\y\\a.jpg", rain=True, snow=False)
    write_labels(tmp_path / "c.json", "c.jpg", {"label": "cat", "shape_type": "point"}, rain=True)
    found = read_labelme_folder(tmp_path, SourceOptions())
    assert found.class_names == ("cat", "dog", "rain")
    assert {e.id: (e.tags, bool(e.mask_stamp)) for e in found.entries} == {
        "c": (("rain", "cat"), False),
        "y/a": (("rain",), False),
        "x/a": (("dog",), True),
    }
    assert [p.message for p in found.problems if p.warning and "d.jpg" in p.message]
    drawn = found.mask_drawer.draw("x/a", (3, 4))
    assert np.array_equal(drawn, [[0, 2, 2, 0], [0, 2, 2, 0], [0, 0, 0, 0]])
    assert check_data(tmp_path).errors == ()


def test_damaged_files_are_all_named(tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_labels(tmp_path / "a.json", "a.jpg", rain=True)
    for name in ("b.json", "c.json"):
        (tmp_path / name).write_text('{"version": "5", "flags": {}, "shapes": [')
    with pytest.raises(DataError, match=r"(?s)2 photos.*b\.json.*c\.json"):
        read_labelme_folder(tmp_path, SourceOptions())


def test_other_json_is_not_labelmes(tmp_path):
    (tmp_path / "a.json").write_text('{"version": 1}')
    assert not is_labelme_folder(tmp_path)
    with pytest.raises(DataError, match="no JSON of LabelMe"):
        read_labelme_folder(tmp_path, SourceOptions())
