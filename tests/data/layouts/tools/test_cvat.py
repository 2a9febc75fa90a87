"""CVAT's XML as a data folder."""

import numpy as np
import pytest
from data_folders import write_photo

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.tools.cvat import is_cvat, read_cvat_folder
from tag2mask.errors import DataError

LABELS = "".join(f"<label><name>{name}</name></label>" for name in ("rain", "dog", "background"))


def write_xml(root, images, name="annotations.xml"):
    meta = f"<meta><job><labels>{LABELS}</labels></job></meta>"
    (root / name).write_text(f"<annotations><version>1.1</version>{meta}{images}</annotations>")


def image(name, shapes="", subset="train"):
    return f'<image id="0" name="{name}" subset="{subset}" width="4" height="3">{shapes}</image>'


def test_tags_splits_masks_and_classes(tmp_path):
    for name in ("images/a.jpg", "images/x/b.jpg", "c.jpg"):
        write_photo(tmp_path / name)
    mask = '<mask label="dog" rle="1, 2, 1" left="1" top="0" width="2" height="2"/>'
    box = '<box label="dog" xtl="0" ytl="0" xbr="2" ybr="2"/>'
    write_xml(tmp_path, image("a.jpg", mask) + image("x/b.jpg", f'<tag label="rain"/>{box}'))
    write_xml(tmp_path, image("c.jpg", subset="Validation"), "job_2.xml")
    found = read_cvat_folder(tmp_path, SourceOptions())
    assert found.problems == () and found.class_names == ("rain", "dog")
    assert [(e.id, e.split, e.tags, bool(e.mask_stamp)) for e in found.entries] == [
        ("a", "train", ("dog",), True),
        ("x/b", "train", ("rain", "dog"), False),
        ("c", "val", (), True),
    ]
    drawn = found.mask_drawer.draw("a", (3, 4))
    assert np.array_equal(drawn, [[0, 0, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    assert check_data(tmp_path).errors == ()


def test_photos_that_are_not_there_are_all_named(tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_xml(tmp_path, image("a.jpg", '<tag label="dog"/>') + image("b.jpg") + image("../c.jpg"))
    errors = " ".join(check_data(tmp_path).errors)
    assert "'b.jpg' of annotations.xml is not in" in errors and "'../c.jpg'" in errors


def test_other_xml_is_not_cvats(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation/>")
    assert not is_cvat(tmp_path)
    with pytest.raises(DataError, match="no XML of CVAT"):
        read_cvat_folder(tmp_path, SourceOptions())
    (tmp_path / "b.xml").write_text("<annotations><image")
    with pytest.raises(DataError, match=r"not CVAT's XML.*b\.xml"):
        read_cvat_folder(tmp_path, SourceOptions())
