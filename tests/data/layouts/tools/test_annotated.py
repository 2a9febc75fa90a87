"""Inventories from what other tools' files say of each photo."""

import numpy as np
import pytest
from data_folders import write_photo

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, RegionMaskDrawer, read_annotated
from tag2mask.errors import DataError
from tag2mask.formats.annotations import AnnotatedPhoto, Region


def _region(label: str, rows: slice, kind: str = "mask") -> Region:
    mask = np.zeros((3, 4), bool)
    mask[rows] = True
    return Region(label, None, kind, None if kind == "box" else lambda: mask)


def _photo(name: str, *tags: str, regions=(), split=None, size=None) -> AnnotatedPhoto:
    return AnnotatedPhoto(name, size, split, tags, tuple(regions))


def _read(root, *photos, classes=None, options=None):
    source = AnnotatedSource("tool", "tool.json", photos, "1-2-3", classes)
    return read_annotated(root, source, options or SourceOptions())


def _messages(found, *, warnings=False):
    return [problem.message for problem in found.problems if problem.warning == warnings]


def test_addresses_tags_and_splits(tmp_path):
    for name in ("images/a.jpg", "images/x/b.jpg", "c.jpg", "unused.jpg"):
        write_photo(tmp_path / name)
    found = _read(
        tmp_path,
        _photo("/data/upload/1/1f0e2d3c-a.jpg", "dog"),
        _photo("/data/upload/1/1f0e2d3c-a.jpg", "cat", "dog"),
        _photo(r"C:\x\b.jpg", split="valid"),
        _photo("c.jpg", "dog", split="test"),
    )
    entries = {e.id: (e.split, e.tags, e.image) for e in found.entries}
    assert entries == {
        "a": ("train", ("dog", "cat"), "images/a.jpg"),
        "x/b": ("val", (), "images/x/b.jpg"),
    }
    assert found.class_names == ("cat", "dog") and found.names_from_tags
    assert _messages(found) == []
    assert _messages(found, warnings=True) == [
        "1 photo is not in tool.json and not used: unused.jpg"
    ]


def test_photos_that_match_none_or_two_are_listed(tmp_path):
    for name in ("x/a.jpg", "y/a.jpg", "images/b.jpg", "b.jpg", "c.jpg"):
        write_photo(tmp_path / name)
    found = _read(
        tmp_path,
        *map(_photo, ("/z/a.jpg", "gone.jpg", "images/b.jpg", "b.jpg", "p/c.jpg", "q/c.jpg")),
    )
    missing, two, one_id, one_photo = sorted(_messages(found), key=lambda m: "gone" not in m)
    assert "'gone.jpg' of tool.json is not in the data folder" in missing
    assert "may be any of x/a.jpg, y/a.jpg" in two
    assert "images/b.jpg, b.jpg would have one id" in one_id
    assert "'p/c.jpg' and 'q/c.jpg' would be one photo (c.jpg)" in one_photo


def test_masks_are_drawn_small_over_large(tmp_path):
    for name in "abcde":
        write_photo(tmp_path / f"{name}.png", (4, 3))
    rows = slice
    found = _read(
        tmp_path,
        _photo("a.png", regions=[_region("dog", rows(0, 1)), _region("cat", rows(0, 2))]),
        _photo("b.png", regions=[_region("ignore", rows(0, 3)), _region("cat", rows(1, 2))]),
        _photo("c.png", regions=[_region("cat", rows(0, 1)), _region("dog", rows(0, 1), "box")]),
        _photo("d.png", "dog", regions=[_region("cat", rows(0, 1))]),
        _photo("e.png"),
        classes=["background", "dog", "cat"],
    )
    assert found.class_names == ("dog", "cat") and found.class_list == "tool.json"
    assert {e.id for e in found.entries if e.mask_stamp} == {"a", "b", "e"}
    drawn = {id: found.mask_drawer.draw(id, (3, 4))[:, 0].tolist() for id in "abe"}
    assert drawn == {"a": [1, 2, 0], "b": [255, 2, 255], "e": [0, 0, 0]}


def test_masks_that_do_not_fit():
    drawer = RegionMaskDrawer("tool.json", ["cat"])
    drawer.add("a", (4, 3), [_region("cat", slice(0, 1))])
    drawer.add("b", None, [_region("cow", slice(0, 1))])
    assert drawer.misfit("a", (3, 4)) == ""
    assert "4x3 in tool.json, 3x4 px" in drawer.misfit("a", (4, 3))
    with pytest.raises(DataError, match="different size: 4x3, photo 3x4 px"):
        drawer.draw("a", (4, 3))
    with pytest.raises(DataError, match="unknown class 'cow'"):
        drawer.draw("b", (3, 4))
