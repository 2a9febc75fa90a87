"""A VOC folder of noise photos with masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "bird")


def write_voc_folder(folder: Path, train: int = 9, val: int = 3) -> Path:
    """Write photos of 48 x 64 px with one or two classes each."""
    rng = np.random.default_rng(0)
    ids = [f"photo_{number:02}" for number in range(train + val)]
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    table = ["id,tags"]
    for number, name in enumerate(ids):
        tags = sorted({number % 3, number // 3 % 3})
        mask = np.zeros((48, 64), np.uint8)
        for place, tag in enumerate(tags):
            mask[8:40, 4 + 28 * place : 24 + 28 * place] = tag + 1
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{name}.png")
        photo = rng.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(photo).save(folder / "JPEGImages" / f"{name}.jpg")
        table.append(f"{name},{' '.join(CLASSES[tag] for tag in tags)}")
    for split, own in (("train", ids[:train]), ("val", ids[train:])):
        (folder / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(own) + "\n")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "tags.csv").write_text("\n".join(table) + "\n")
    return folder
