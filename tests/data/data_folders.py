"""Small data folders of every layout, for tests."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.artifacts.manifest import Identity
from tag2mask.classes import VOC_NAMES

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "traffic light"}]


def write_photo(path: Path, size: tuple[int, int] = (4, 3), color: str = "red") -> Path:
    """Write a photo of one color, ``size`` (w, h) px, creating its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


@contextmanager
def ends_soon(seconds: int = 20) -> Iterator[None]:
    """Fail where the block waits, as the reader of a pipe does into which nobody writes."""

    def fail(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def write_mask_folders(root: Path) -> list[Path]:
    """Write the photos ``a``, ``app/b`` and ``line/d``, and folders of masks, which are returned.

    Their records are those of ``tag2mask predict``, killed or complete, and of an exported
    ``predict.py``, which wrote beside ``d``. The folder ``app`` has files of these names from
    another program.
    """
    identity = Identity(step="predict", section={}, identity="a", fingerprint="b", started="now")
    started = identity.model_dump(mode="json")
    records = {
        "started.json": started,
        "manifest.json": started | {"tag2mask": "1"},
    }
    write_photo(root / "a.jpg")
    write_photo(root / "app/b.jpg")
    (root / "app/manifest.json").write_text('{"name": "an app"}')
    (root / "app/predict.json").write_text("[]")
    folders = [root / f"by-{name.partition('.')[0]}" for name in records]
    for folder, (name, record) in zip(folders, records.items(), strict=True):
        write_photo(folder / "c.png")
        (folder / name).write_text(json.dumps(record))
    write_photo(root / "line/d.jpg")
    write_photo(root / "line/masks/c.png")
    (root / "line/predict.json").write_text('{"model": "a", "decisions": false}')
    return [*folders, root / "line/masks"]


def write_array(path: Path, values: np.ndarray) -> None:
    """Write an array (h, w) as an image, creating its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_tag_table(folder: Path, text: str, name: str = "tags.csv") -> Path:
    """Write a table of tags; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_data(root: Path, rows: str, classes: str | None = None, photos: str = "") -> Path:
    """Write a csv folder: rows of (id, tags, split), names of classes and of 8 x 6 px photos."""
    write_tag_table(root, "id,tags,split\n" + rows)
    if classes is not None:
        (root / "classes.txt").write_text("\n".join(classes.split()))
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    for name in photos.split():
        write_array(root / f"{name}.jpg", noise)
    return root


def annotation_xml(*names: str) -> str:
    """Return a VOC annotation with an object, which has a part, of each name."""
    objects = "".join(
        f"<object><name>{n}</name><difficult>1</difficult><part><name>head</name></part></object>"
        for n in names
    )
    return f"<annotation><filename>x.jpg</filename>{objects}</annotation>"


def label_vector(*names: str) -> np.ndarray:
    """Return VOC's float32 (20,) vector of some classes."""
    return np.array([name in names for name in VOC_NAMES], np.float32)


def write_labels(root: Path, values: object) -> Path:
    """Write ``cls_labels.npy`` as psa does."""
    np.save(root / "cls_labels.npy", values, allow_pickle=True)
    return root / "cls_labels.npy"


def box(x: int, y: int, width: int, height: int) -> list[list[int]]:
    """Return the outline of a box."""
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def coco_annotation(image: int, category: int, segmentation: object, **more: object) -> dict:
    """Return one of COCO's annotations."""
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def write_coco(
    root: Path,
    split: str,
    images: dict[int, str],
    annotations: list[dict],
    *,
    folder: str = "images",
    name: str | None = None,
    photos: bool = True,
) -> Path:
    """Write COCO's JSON of 10 x 8 px photos, and the photos; return the JSON's path."""
    path = root / (name or f"annotations/instances_{split}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "info": {"year": 2026, "nested": [1, {"a": []}]},
                "annotations": annotations,
                "images": [
                    {"id": key, "file_name": file, "height": 8, "width": 10}
                    for key, file in images.items()
                ],
                "categories": CATEGORIES,
                "licenses": [],
            },
            ensure_ascii=False,
        ),
        encoding="utf-8",
    )
    for file in images.values() if photos else ():
        write_photo(root / folder / file, (10, 8))
    return path
