"""Many tiny photos with tags and masks, as hard links to a few files."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.classes import IGNORE, ClassSet
from tag2mask.data.masks import write_mask

CLASSES = ("car", "dog", "person", "tree")
ORIGINALS = 10
"""Different photos; the others are hard links, of which a file can have 65,000."""


def write_photos(data: Path, count: int) -> None:
    """Write tiny JPEGs in folders of 1,000, and a table with one or two tags each."""
    originals = data.parent / "originals"
    originals.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(ORIGINALS):
        pixels = rng.integers(0, 256, (24 + index, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(originals / f"{index}.jpg")
    data.mkdir()
    with (data / "tags.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("image", "tags"))
        for index in range(count):
            name = f"{index // 1000:03}/{index:06}.jpg"
            if index % 1000 == 0:
                (data / name).parent.mkdir()
            _link(originals / f"{index % ORIGINALS}.jpg", data / name)
            tags = {CLASSES[index % 4], CLASSES[index // 7 % 4]}
            writer.writerow((name, " ".join(sorted(tags))))


def write_masks(data: Path, count: int) -> None:
    """Write a mask of each photo that shows its tags, into folders as `write_photos` does."""
    originals = data.parent / "originals"
    for index in range(count):
        name = f"{index % ORIGINALS}-{index % 4}-{index // 7 % 4}.png"
        if not (originals / name).exists():
            mask = np.zeros((24 + index % ORIGINALS, 32), np.uint8)
            mask[4:12, 4:12], mask[14:20, 16:28] = index % 4 + 1, index // 7 % 4 + 1
            mask[3, 3:12] = IGNORE
            write_mask(originals / name, mask, ClassSet(CLASSES).colors)
        path = data / "masks" / f"{index // 1000:03}" / f"{index:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(originals / name, path)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
