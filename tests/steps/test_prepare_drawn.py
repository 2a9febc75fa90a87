"""Masks that `prepare` draws follow every file that they are drawn from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_folders import write_array, write_photo, write_tag_table

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.index import read_index, read_mask_paths, read_mask_rows
from tag2mask.data.masks import read_mask
from tag2mask.data.prepare.listing import list_data
from tag2mask.data.prepare.plan import plan_prepare
from tag2mask.errors import ProblemsError
from tag2mask.recipe.sections import Prepare
from tag2mask.steps.prepare import prepare, write_prepared

_MASK = np.array([[0, 1, 1, 2]] * 3, np.uint8)
_OTHER = np.array([[2, 1, 0, 0]] * 3, np.uint8)


def _huggingface(root: Path) -> None:
    for split, name in (("train", "a"), ("validation", "b")):
        write_photo(root / f"{split}/{name}.jpg")
        write_array(root / f"{split}/masks/{name}.png", _MASK)
        row = {"file_name": f"{name}.jpg", "tags": ["cat"], "mask_file_name": f"masks/{name}.png"}
        (root / f"{split}/metadata.jsonl").write_text(json.dumps(row))
    (root / "classes.txt").write_text("background\ncat\ndog\n")


def _voc(root: Path) -> None:
    for name in ("a", "b"):
        write_photo(root / f"JPEGImages/{name}.jpg")
        write_array(root / f"SegmentationClass/{name}.png", _colored(_MASK))
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("a\nb\n")
    _label_map(root, "9,8,7", "1,2,3")
    write_tag_table(root, "id,tags\na,dog cat\nb,\n")


def _colored(values: np.ndarray) -> np.ndarray:
    return np.array([[0, 0, 0], [9, 8, 7], [1, 2, 3]], np.uint8)[values]


def _label_map(root: Path, cat: str, dog: str) -> None:
    lines = f"background:0,0,0::\ncat:{cat}::\ndog:{dog}::\n"
    (root / "labelmap.txt").write_text(lines)


def _roboflow(root: Path) -> None:
    for split, name in (("train", "a"), ("valid", "b")):
        write_photo(root / f"{split}/{name}.jpg")
        write_array(root / f"{split}/{name}_mask.png", _MASK)
        _values(root, split, "cat", "dog")
    write_tag_table(root, "image,tags,split\ntrain/a.jpg,cat;dog,\nvalid/b.jpg,,val\n")


def _values(root: Path, split: str, *names: str) -> None:
    lines = [f"{value}, {name}\n" for value, name in enumerate(("background", *names))]
    write_tag_table(root / split, "".join(["Pixel Value, Class\n", *lines]), "_classes.csv")


def _yolo(root: Path) -> None:
    for split, name in (("train", "a"), ("val", "b")):
        write_photo(root / f"images/{split}/{name}.jpg")
        (root / f"labels/{split}").mkdir(parents=True)
        (root / f"labels/{split}/{name}.txt").write_text("0 0 0 0.5 0 0.5 1 0 1\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")


_CHANGES: dict[str, tuple[Callable[[Path], None], Callable[[Path], object], str, list[int]]] = {
    "a mask of huggingface": (
        _huggingface,
        lambda root: write_array(root / "train/masks/a.png", _OTHER),
        "train/a",
        [2, 1, 0, 0],
    ),
    "the list of classes of huggingface": (
        _huggingface,
        lambda root: (root / "classes.txt").write_text("background\nignore\ncat\ndog\n"),
        "train/a",
        [0, 255, 255, 1],
    ),
    "colors in a label map": (
        _voc,
        lambda root: _label_map(root, "1,2,3", "9,8,7"),
        "a",
        [0, 2, 2, 1],
    ),
    "the table of roboflow": (
        _roboflow,
        lambda root: _values(root, "train", "dog", "cat"),
        "train/a",
        [0, 2, 2, 1],
    ),
    "the size of a photo of yolo": (
        _yolo,
        lambda root: write_photo(root / "images/train/a.jpg", (8, 6)),
        "train/a",
        [1, 1, 1, 1, 0, 0, 0, 0],
    ),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_a_drawn_mask_follows_what_it_is_drawn_from(tmp_path, change):
    write, edit, photo, row = _CHANGES[change]
    write(tmp_path / "data")
    out = tmp_path / "out"
    prepare(tmp_path / "data", Prepare(), out)
    before = read_mask(read_mask_paths(out)[photo], 2)
    edit(tmp_path / "data")
    prepare(tmp_path / "data", Prepare(), out, update=True)
    mask = read_mask(read_mask_paths(out)[photo], 2)
    sizes = {s.id: s.size for split in ("train", "val") for s in read_index(out, split)}
    assert mask[0].tolist() == row and before[0].tolist() != row
    assert mask.shape == sizes[photo]


def test_masks_that_change_places_are_drawn_again(tmp_path):
    _huggingface(tmp_path / "data")
    write_photo(tmp_path / "data/train/c.jpg")
    folder = tmp_path / "data/train/masks"
    write_array(folder / "c.png", _OTHER)
    rows = [
        {"file_name": f"{name}.jpg", "tags": ["cat"], "mask_file_name": f"masks/{name}.png"}
        for name in "ac"
    ]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "data/train/metadata.jsonl").write_text(lines)
    for number, name in enumerate("ac"):
        os.utime(folder / f"{name}.png", ns=(number, number))
    out = tmp_path / "out"
    prepare(tmp_path / "data", Prepare(), out)
    (folder / "a.png").rename(folder / "kept")
    (folder / "c.png").rename(folder / "a.png")
    (folder / "kept").rename(folder / "c.png")
    prepare(tmp_path / "data", Prepare(), out)
    masks = read_mask_paths(out)
    assert read_mask(masks["train/a"], 2)[0].tolist() == [2, 1, 0, 0]
    assert read_mask(masks["train/c"], 2)[0].tolist() == [0, 1, 1, 2]


def test_a_folder_of_the_version_before_is_kept_and_drawn_at_most_once_more(tmp_path):
    _yolo(tmp_path / "data")
    out = tmp_path / "out"
    first = prepare(tmp_path / "data", Prepare(), out)
    stamps = {row.id: row.stamp for row in read_mask_rows(out)}
    lines = [json.dumps({"id": id, "key": key, "session": 0}) for id, key in stamps.items()]
    (out / "items.jsonl").write_text("\n".join([*lines, ""]))  # keys without size and classes
    written = read_mask_paths(out)["train/a"].stat().st_mtime_ns
    assert prepare(tmp_path / "data", Prepare(), out) == first
    assert read_mask_paths(out)["train/a"].stat().st_mtime_ns == written
    write_photo(tmp_path / "data/images/train/a.jpg", (8, 6))
    prepare(tmp_path / "data", Prepare(), out, update=True)
    assert read_mask(read_mask_paths(out)["train/a"], 2).shape == (6, 8)


def test_a_mask_of_another_size_beside_a_label_map_costs_the_mask(tmp_path):
    _voc(tmp_path)
    write_array(tmp_path / "SegmentationClass/a.png", _colored(np.zeros((5, 5), np.uint8)))
    message = "mask of photo 'a' has a different size: 5x5 in a.png, photo 4x3 px"
    out = tmp_path.parent / "out"
    done = prepare(tmp_path, Prepare(), out)
    assert set(read_mask_paths(out)) == {"b"}
    [warning] = [text for text in done.manifest.metrics["warnings"] if "mask file" in text]
    assert message in warning
    report = check_data(tmp_path)
    assert report.errors == () and message in " ".join(report.warnings)


def test_a_drawn_mask_of_another_size_is_an_error(tmp_path):
    section, data, out = Prepare(), tmp_path / "data", tmp_path / "out"
    _voc(data)
    plan = plan_prepare(data, list_data(data, section, out), section, out)
    write_array(data / "SegmentationClass/a.png", _colored(np.zeros((5, 5), np.uint8)))
    with pytest.raises(ProblemsError, match="mask 5x5, photo 4x3 px"):
        write_prepared(plan, section, out)
    assert not (out / "coco-masks/a.png").exists()
