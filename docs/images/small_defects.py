"""Make ``small_defects.png``: ``python docs/images/small_defects.py RUN``.

RUN is a run of ``small-objects-cpu`` on the photos of ``benchmarks.small_defects``. Four validation
photos with a defect, not chosen by hand: evenly spaced in their order. Each is cut to a square
around one of its defects.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from examples import WIDTH, sheet
from PIL import Image
from scipy.ndimage import center_of_mass, label

from tag2mask.artifacts.items import item_path
from tag2mask.data.index import Sample, read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.report.overlays import mask_overlay

PHOTOS, SIDE = 4, 120
STEPS = ("pseudo-masks", "predict")
COLUMNS = ("photo (cut out)", "pseudo mask", "network, no tags", "ground truth")


def chosen(run: Path) -> list[Sample]:
    """Return evenly spaced validation photos that show a defect."""
    tagged = [sample for sample in read_index(run / "prepare", "val") if sample.tags]
    return tagged[len(tagged) // (2 * PHOTOS) :: len(tagged) // PHOTOS][:PHOTOS]


def pictures(run: Path, sample: Sample) -> list[Image.Image]:
    """Return one row: a square of the photo, and the masks over it."""
    classes = read_classes(run / "prepare")
    truth = read_mask_paths(run / "prepare")[sample.id]
    parts, _ = label(read_mask(truth, len(classes)) > 0)
    y, x = center_of_mass(parts == 1)
    height, width = parts.shape
    top = int(np.clip(y - SIDE / 2, 0, height - SIDE))
    left = int(np.clip(x - SIDE / 2, 0, width - SIDE))
    box = (left, top, left + SIDE, top + SIDE)
    photo = Image.open(sample.image).convert("RGB").crop(box).resize((WIDTH, WIDTH))

    def mask(file: Path) -> Image.Image:
        cut = Image.fromarray(read_mask(file, len(classes))).crop(box)
        large = cut.resize((WIDTH, WIDTH), Image.Resampling.NEAREST)
        return mask_overlay(photo, np.asarray(large), classes.colors)

    made = [item_path(run / step / "masks", sample.id, ".png") for step in STEPS]
    return [photo, *map(mask, made), mask(truth)]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    picture = sheet([pictures(folder, sample) for sample in chosen(folder)], COLUMNS)
    picture.quantize(128).save(Path(__file__).with_suffix(".png"), optimize=True)
