"""Disk space per photo in each folder of a run, compared with plain files."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from benchmarks.demo_run import demo_run
from benchmarks.measure import Row
from tag2mask.data.index import read_index
from tag2mask.data.splits import SPLITS

FLOAT32 = 4
"""Bytes per value in the published code's ``.npy`` files."""
Plain = Callable[[int, int], int]
"""Bytes of a plain file by the photo's pixels and its number of tags."""


def maps(*, toy: bool = False) -> Row:
    """Compare activation maps with one float32 map per tag at the photo's size."""
    return _row("infer-cam/maps", ".npz", _float_maps, toy=toy)


def affinity_labels(*, toy: bool = False) -> Row:
    """Compare labels with both CRFs' float32 marginals, which the published code stores."""
    return _row(
        "affinity-labels/labels",
        ".png",
        lambda pixels, tags: 2 * (tags + 1) * pixels * FLOAT32,
        toy=toy,
    )


def walked_maps(*, toy: bool = False) -> Row:
    """Compare walked maps with one float32 map per tag at the photo's size."""
    return _row("walk/maps", ".npz", _float_maps, toy=toy)


def masks(*, toy: bool = False) -> Row:
    """Compare masks with one byte per pixel."""
    return _row("pseudo-masks/masks", ".png", lambda pixels, tags: pixels, toy=toy)


def _float_maps(pixels: int, tags: int) -> int:
    return tags * pixels * FLOAT32


def _row(folder: str, suffix: str, plain: Plain, *, toy: bool) -> Row:
    run = demo_run(toy=toy)
    ours, other = [], []
    for split in SPLITS:
        for sample in read_index(run / "prepare", split):
            file = run / folder / f"{sample.id}{suffix}"
            if file.is_file():  # only training photos have labels
                ours.append(file.stat().st_size / 1000)
                other.append(plain(sample.pixels, len(sample.tags)) / 1000)
    return Row.of([mean(ours)], [mean(other)], unit="kB")
