"""Time to list 100,000 tagged photos: the step ``prepare``, compared with a plain loop."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Row
from tag2mask.recipe.sections import Prepare
from tag2mask.steps.prepare import prepare

CLASSES = ("car", "dog", "person", "tree")
ORIGINALS = 10
"""Different photos; the others are hard links, of which a file can have 65,000."""


def prepare_100k(*, toy: bool = False) -> Row:
    """Compare the times to list a table of tags with its photos; median of three new folders."""
    photos, times = (40, 1) if toy else (100_000, 3)
    ours, other = [], []
    with tempfile.TemporaryDirectory(prefix="tag2mask-bench-") as folder:
        data = Path(folder) / "data"
        write_photos(data, photos)
        for run in range(times):
            out = Path(folder) / f"prepare-{run}"
            start = time.perf_counter()
            prepare(data, Prepare(), out)
            middle = time.perf_counter()
            plain_listing(data)
            ours.append(middle - start)
            other.append(time.perf_counter() - middle)
    return Row.of(ours, other, unit="s")


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


def plain_listing(data: Path) -> list[tuple[str, tuple[int, int], list[str]]]:
    """Read the table, and open each photo with Pillow for its size."""
    found = []
    with (data / "tags.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            with Image.open(data / row["image"]) as photo:
                found.append((row["image"], photo.size, row["tags"].split()))
    return found


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
