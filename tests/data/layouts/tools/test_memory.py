"""Outlines stay in the tools' files: an inventory holds where they are, whatever their size."""

import gc
import json
import tracemalloc

import numpy as np
import pytest
from data_folders import write_photo

from tag2mask.data.layouts.detect import read_inventory
from tag2mask.formats.labelstudio.brush_rle import encode_brush

_PHOTOS = 40
_SIDE = 64
_CORNERS = 8000


def _zigzag(scale):
    """Corners of a polygon with many teeth, between 0 and ``scale``."""
    x = np.linspace(0, 1, _CORNERS)
    teeth = np.stack((x, np.arange(_CORNERS) % 2 * 0.5), 1)
    return (np.vstack((teeth, [[1, 1], [0, 1]])) * scale).round(6).tolist()


def _names(root):
    for number in range(_PHOTOS):
        write_photo(root / f"images/{number}.png", (_SIDE, _SIDE))
        yield str(number)


def _cvat(root):
    points = ";".join(f"{x},{y}" for x, y in _zigzag(_SIDE))
    size = f'width="{_SIDE}" height="{_SIDE}"'
    with (root / "annotations.xml").open("w") as file:
        file.write("<annotations>")
        for name in _names(root):
            file.write(f'<image id="{name}" name="{name}.png" {size}>')
            file.write(f'<polygon label="dog" points="{points}"/></image>')
        file.write("</annotations>")


def _labelme(root):
    for name in _names(root):
        content = {
            "imagePath": f"{name}.png",
            "imageWidth": _SIDE,
            "imageHeight": _SIDE,
            "flags": {},
            "shapes": [{"label": "dog", "points": _zigzag(_SIDE)}],
        }
        (root / f"images/{name}.json").write_text(json.dumps(content))


def _yolo(root):
    (root / "labels").mkdir()
    line = " ".join(f"{x} {y}" for x, y in _zigzag(1))
    for name in _names(root):
        (root / f"labels/{name}.txt").write_text(f"0 {line}\n")
    (root / "data.yaml").write_text("train: images\nnames: [dog]\n")


def _labelstudio(root):
    noise = np.random.default_rng(0).random((_SIDE, _SIDE)) > 0.5
    brush = {
        "original_width": _SIDE,
        "original_height": _SIDE,
        "value": {"rle": encode_brush(noise), "brushlabels": ["dog"]},
    }
    tasks = [
        {"data": {"image": f"{name}.png"}, "annotations": [{"result": [brush] * 10}]}
        for name in _names(root)
    ]
    (root / "project-1.json").write_text(json.dumps(tasks))


@pytest.mark.parametrize("write", [_cvat, _labelme, _yolo, _labelstudio])
def test_an_inventory_holds_no_outlines(tmp_path, write):
    write(tmp_path)
    written = sum(
        path.stat().st_size for path in tmp_path.rglob("*.*") if path.suffix not in (".png",)
    )
    assert written > 3_000_000
    tracemalloc.start()
    try:
        found = read_inventory(tmp_path)
        gc.collect()  # a parser and its handlers refer to each other
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.entries) == _PHOTOS and all(entry.mask_stamp for entry in found.entries)
    assert held < written / 10, (held, written)
    drawn = [found.mask_drawer.draw(entry.id, (_SIDE, _SIDE)) for entry in found.entries]
    assert all(mask.any() and np.array_equal(mask, drawn[0]) for mask in drawn)
