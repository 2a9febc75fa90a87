"""Simple pseudo masks for tests of the steps of the segmentation network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import read_classes, read_index
from tag2mask.data.masks import write_mask


def mask_drawer(
    data: PreparedData,
    out: Path,
    *,
    empty: bool = False,
    without: tuple[str, ...] = (),
) -> PseudoMaskFolder:
    """Masks of all photos: their first class on the left half, background on the right.

    Args:
        data: the photos.
        out: the folder to write.
        empty: background all over.
        without: ids of photos that get none, and are said to be left out.
    """
    classes = ClassSet(read_classes(data.path).names)
    section = {"empty": empty, "without": without}
    with step_folder(PseudoMaskFolder, out, section=section, coverage={"data": data}) as step:
        for split in ("train", "val"):
            for sample in read_index(data.path, split):
                if sample.id in without:
                    continue
                mask = np.zeros(sample.size, np.uint8)
                left = np.arange(sample.size[1]) < sample.size[1] // 2
                if sample.tags and not empty:
                    mask[:, left] = 1 + sample.tags[0]
                write_mask(out / "masks" / f"{sample.id}.png", mask, classes.colors)
        return step.finish(skipped=[f"{photo}: cut off" for photo in without])


def paint_halves(data: PreparedData) -> None:
    """Repaint the photos: the left half in the color of the first class, the right one dark."""
    colors = np.array([(230, 40, 40), (40, 230, 40), (40, 40, 230)], np.uint8)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for sample in read_index(data.path, split):
            pixels = np.full((*sample.size, 3), 20, np.uint8)
            if sample.tags:
                pixels[:, : sample.size[1] // 2] = colors[sample.tags[0]]
            pixels += rng.integers(0, 20, pixels.shape, np.uint8)
            Image.fromarray(pixels).save(sample.image)
