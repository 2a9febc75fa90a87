"""Time to list and to check 100,000 tagged photos, compared with plain loops over their files."""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Row
from benchmarks.small_photos import write_masks, write_photos
from tag2mask.data.checks.data_folder import check_data
from tag2mask.recipe.sections import Prepare
from tag2mask.steps.prepare import prepare


def prepare_100k(*, toy: bool = False) -> Row:
    """Compare ``prepare`` of photos without masks with reading the table and their sizes."""
    return _compared(_prepare, lambda data, _: plain_listing(data), masks=False, toy=toy)


def prepare_vs_header_loop(*, toy: bool = False) -> Row:
    """Compare ``prepare`` of photos with masks with a loop that reads and writes the same."""
    return _compared(_prepare, write_plain_index, masks=True, toy=toy)


def data_check_vs_header_loop(*, toy: bool = False) -> Row:
    """Compare ``data check`` of photos with masks with a loop that decodes the same files."""
    return _compared(
        lambda data, _: check_data(data),
        lambda data, _: list(plain_rows(data, decode=True)),
        masks=True,
        toy=toy,
    )


def _prepare(data: Path, out: Path) -> None:
    prepare(data, Prepare(), out)


def _compared(
    ours: Callable[[Path, Path], object],
    other: Callable[[Path, Path], object],
    *,
    masks: bool,
    toy: bool,
) -> Row:
    """Time two functions of a data folder and a path to write, in turn; medians of three."""
    photos, times = (40, 1) if toy else (100_000, 3)
    seconds: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory(prefix="tag2mask-bench-") as folder:
        data = Path(folder) / "data"
        write_photos(data, photos)
        if masks:
            write_masks(data, photos)
        for run in range(times):
            for side, function in enumerate((ours, other)):
                start = time.perf_counter()
                function(data, Path(folder) / f"out-{run}-{side}")
                seconds[side].append(time.perf_counter() - start)
    return Row.of(*seconds, unit="s")


def plain_listing(data: Path) -> list[tuple[str, tuple[int, int], list[str]]]:
    """Read the table, and open each photo with Pillow for its size."""
    found = []
    with (data / "tags.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            with Image.open(data / row["image"]) as photo:
                found.append((row["image"], photo.size, row["tags"].split()))
    return found


def plain_rows(data: Path, *, decode: bool = False) -> Iterator[dict[str, Any]]:
    """Read the table, each photo's size and the values in each mask, and the files' stamps.

    Args:
        data: the data folder.
        decode: read all of each photo, at the smallest size that its format allows.
    """
    with (data / "tags.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            photo_file = data / row["image"]
            mask_file = data / "masks" / f"{row['image'].removesuffix('.jpg')}.png"
            with Image.open(photo_file) as photo:
                size = photo.size
                if decode:
                    photo.draft(None, (1, 1))
                    photo.load()
            with Image.open(mask_file) as mask:
                values = np.unique(np.asarray(mask)).tolist()
            yield {
                "image": row["image"],
                "size": size,
                "tags": row["tags"].split(),
                "stamp": _stamp(photo_file),
                "mask": mask_file.name,
                "values": values,
                "mask_stamp": _stamp(mask_file),
            }


def write_plain_index(data: Path, out: Path) -> None:
    """Write what `plain_rows` reads, one line of JSON per photo."""
    with out.open("w") as lines:
        for row in plain_rows(data):
            lines.write(json.dumps(row) + "\n")


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
