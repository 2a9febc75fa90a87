"""Photos per second of ``masks export --to coco``, compared with pycocotools' encoding alone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from scipy import ndimage

from benchmarks.measure import Row
from tag2mask.classes import ClassSet
from tag2mask.data.masks import write_mask
from tag2mask.formats.pixels.parts import mask_parts
from tag2mask.steps.mask_exchange.export import export_masks
from tag2mask.steps.mask_exchange.sources import MaskSource, SourceMask
from tag2mask.steps.mask_exchange.targets import TARGETS

CLASSES = ClassSet(("one", "two", "three"))
SIZE = (375, 500)
_FILES = 40
"""Different masks; more photos share them."""


def coco_photos_per_second(*, toy: bool = False) -> Row:
    """Export masks of 500 px as COCO's JSON, and encode the same objects held in memory."""
    photos, times = (20, 1) if toy else (300, 9)
    ours, other = [], []
    with tempfile.TemporaryDirectory(prefix="tag2mask-bench-") as folder:
        masks = [blobs(seed) for seed in range(min(photos, _FILES))]
        objects = [object_masks(mask) for mask in masks]
        source = mask_source(Path(folder) / "masks", masks, photos)
        for run in range(times):
            start = time.perf_counter()
            out = Path(folder) / f"out-{run}"
            export_masks(source, TARGETS["coco"], out, photo_files="none")
            ours.append(photos / (time.perf_counter() - start))
            start = time.perf_counter()
            for place in range(photos):
                encoded(objects[place % len(objects)])
            other.append(photos / (time.perf_counter() - start))
    return Row.of(ours, other, unit="photos/s")


def blobs(seed: int) -> npt.NDArray[np.uint8]:
    """Return a mask of a few smooth parts of up to three classes, uint8 (375, 500)."""
    noise = np.random.default_rng(seed).normal(size=(len(CLASSES), *SIZE))
    smooth = ndimage.gaussian_filter(noise, (0, 25, 25))
    mask = smooth.argmax(axis=0) + 1
    return np.where(smooth.max(axis=0) > 1.8 * smooth.std(), mask, 0).astype(np.uint8)


def mask_source(folder: Path, masks: list[npt.NDArray[np.uint8]], photos: int) -> MaskSource:
    """Write masks and list them as those of several photos, in turn."""
    for number, mask in enumerate(masks):
        write_mask(folder / f"{number}.png", mask, CLASSES.colors)
    own = (
        SourceMask(
            f"{place:06}", folder / f"{place % len(masks)}.png", Path("photo.jpg"), SIZE, "train"
        )
        for place in range(photos)
    )
    return MaskSource(folder, "masks", CLASSES, tuple(own))


def object_masks(mask: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """Return the full mask of each part of a class, in the memory order that COCO's codes need."""
    objects = []
    for part in mask_parts(mask):
        left, top, width, height = part.box
        pixels = np.zeros(mask.shape, np.uint8, order="F")
        pixels[top : top + height, left : left + width] = part.pixels
        objects.append(pixels)
    return objects


def encoded(objects: list[npt.NDArray[np.uint8]]) -> list[str]:
    """Return pycocotools' run-length code of each object."""
    return [coco_mask.encode(mask)["counts"].decode() for mask in objects]
