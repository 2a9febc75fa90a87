"""Files of annotation tools: masks and tags, read as annotated photos and as data folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from data_folders import write_array, write_photo, write_tag_table

from campaigns.fuzz_target import Target
from tag2mask.classes import ClassSet
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.formats.annotations import AnnotatedPhoto, MaskedPhoto
from tag2mask.formats.binary import read_binary, write_binary
from tag2mask.formats.coco.results import read_coco_results
from tag2mask.formats.fiftyone import read_fiftyone_masks, write_fiftyone
from tag2mask.formats.huggingface.reading import read_huggingface
from tag2mask.formats.huggingface.writing import write_huggingface
from tag2mask.formats.labelstudio.reading import read_labelstudio
from tag2mask.formats.labelstudio.writing import write_labelstudio
from tag2mask.formats.roboflow import read_roboflow
from tag2mask.formats.ultralytics.semantic import read_ultralytics, write_ultralytics
from tag2mask.formats.ultralytics.yolo import write_yolo

_CLASSES = ClassSet(("dog", "traffic light"))
_JSON = (b"null", b"[]", b"{}", b'""', b"-1", b"1e999", b'"rle"', b'"labels"', b'"file_name"')
_FIFTYONE = {"a": 0, "b": ["cat", 1], "c": None, "d": [{"label": 1, "bounding_box": [0, 0, 1, 1]}]}
_ROWS = (
    {"file_name": "a.png", "tags": ["cat"]},
    {"file_name": "b.png", "objects": {"categories": ["cat", "dog"]}, "split": "val"},
)


def _photos() -> Iterator[MaskedPhoto]:
    mask = np.zeros((9, 11), np.uint8)
    mask[2:6, 3:8], mask[0], mask[8] = 1, 2, 255
    for name in ("a.png", "x/b.png"):
        yield MaskedPhoto(name.removesuffix(".png"), name, "train", (11, 9), 0.5, mask.copy)


def _export(write: Callable[..., object], *suffixes: str) -> Callable[[Path], Sequence[Path]]:
    """Return a function that exports masks and returns the files with some suffixes."""

    def fill(folder: Path) -> Sequence[Path]:
        write(_photos(), _CLASSES, folder)
        return [path for path in sorted(folder.rglob("*")) if path.suffix in suffixes]

    return fill


def _read(
    read: Callable[[Path], Iterator[AnnotatedPhoto]], levels: int = 0
) -> Callable[[Path], None]:
    """Return a function that reads the masks and tags in a file.

    Args:
        read: the reader of annotated photos.
        levels: so many folders are between the data's folder and the file; -1: ``read`` takes the
            file itself.
    """

    def run(file: Path) -> None:
        for photo in read(file if levels == -1 else file.parents[levels]):
            for region in photo.regions:
                if region.mask is not None:
                    region.mask()

    return run


def _read_data(levels: int = 0) -> Callable[[Path], None]:
    """Return a function that reads a data folder and draws its masks; see `_read`."""

    def run(file: Path) -> None:
        found = read_inventory(file.parents[levels])
        for entry in found.entries:
            if entry.mask_stamp and entry.image and found.mask_drawer is not None:
                found.mask_drawer.draw(entry.id, (9, 11))

    return run


def _write_tasks(folder: Path) -> list[Path]:
    write_labelstudio(_photos(), _CLASSES, folder)
    for name in ("a.png", "x/b.png"):
        write_photo(folder / "images" / name)
    return [folder / "tasks.json"]


def _write_fiftyone(folder: Path) -> list[Path]:
    write_photo(folder / "data/a.png")
    file = folder / "labels.json"
    file.write_text(json.dumps({"classes": ["cat", "dog"], "labels": _FIFTYONE}))
    return [file]


def _write_rows(folder: Path) -> list[Path]:
    write_photo(folder / "a.png")
    file = folder / "metadata.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in _ROWS))
    return [file]


def _write_roboflow(folder: Path) -> list[Path]:
    table = "Pixel Value, Class\n0, background\n1, dog\n"
    write_tag_table(folder / "train", table, "_classes.csv")
    write_photo(folder / "train/a.jpg")
    write_array(folder / "train/a_mask.png", np.ones((3, 4), np.uint8))
    return [folder / "train/_classes.csv", folder / "train/a_mask.png"]


def _write_labels(folder: Path) -> list[Path]:
    write_yolo(_photos(), _CLASSES, folder)
    write_photo(folder / "images/train/a.png", (11, 9))
    return [folder / "labels/train/a.txt"]


def _write_binary(folder: Path) -> list[Path]:
    write_binary(_photos(), _CLASSES, folder)
    return [folder / "masks/dog/a.png"]


def _write_results(folder: Path) -> list[Path]:
    shape = {"image_id": 1, "category_id": 2, "score": 0.5}
    codes = ({"size": [9, 11], "counts": counts} for counts in ([5, 94], [0, 50, 49]))
    file = folder / "results.json"
    file.write_text(json.dumps([shape | {"segmentation": code} for code in codes]))
    return [file]


TARGETS = (
    Target("COCO's results", _write_results, _read(read_coco_results, -1), _JSON),
    Target("Label Studio", _write_tasks, _read(read_labelstudio, -1), _JSON),
    Target("data of Label Studio", _write_tasks, _read_data(), _JSON),
    Target("FiftyOne's labels", _write_fiftyone, _read_data(), _JSON),
    Target("FiftyOne's masks", _export(write_fiftyone, ".json"), _read(read_fiftyone_masks), _JSON),
    Target("Hugging Face's tags", _write_rows, _read_data(), _JSON),
    Target("Hugging Face", _export(write_huggingface, ".jsonl"), _read(read_huggingface, 1), _JSON),
    Target("YOLO", _write_labels, _read_data(2)),
    Target("data.yaml", _export(write_ultralytics, ".yaml"), _read(read_ultralytics)),
    Target("binary masks", _write_binary, _read(read_binary, 2), share=0.5),
    Target("Roboflow's masks", _write_roboflow, _read(read_roboflow, 1), share=0.5),
)
"""Readers of exports."""
