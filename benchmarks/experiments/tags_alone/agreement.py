"""Masks that teach only the pixels on which several folders of masks agree.

    python -m benchmarks.experiments.tags_alone.agreement OUT MASKS MASKS [MASKS...]

Each MASKS is the pseudo-masks folder of a run on the same photos. OUT becomes such a folder, for
``tag2mask run --masks``: where all say the same, it says so too; elsewhere it has the ignore value
255. Prints the shares of all pixels, and of the pixels that any folder gives to an object, on which
they agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import IMPORTED, PseudoMaskFolder
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet
from tag2mask.data.masks import read_mask, write_mask
from tag2mask.errors import DataError
from tag2mask.files.digests import file_digest

MADE_BY = "model:agreement"
Labels = NDArray[np.uint8]


class Shares(NamedTuple):
    """Shares of pixels on which masks agree: of all, and of those that any gives to an object."""

    pixels: float
    objects: float


def agree(masks: Sequence[Labels]) -> Labels:
    """Return the masks' common label at each pixel, 255 where they differ; uint8 (h, w)."""
    first, *others = masks
    same = reduce(np.logical_and, [mask == first for mask in others])
    return np.where(same, first, np.uint8(IGNORE))


def write_agreement(out: Path, folders: Sequence[Path]) -> Shares:
    """Write the folder of common masks; return on how many pixels they agree.

    Raises:
        DataError: masks of other photos, sizes or classes.
        RunFolderError: not folders of masks, or ``out`` was made from others.
    """
    handles = [PseudoMaskFolder.open(folder) for folder in folders]
    names = {tuple(handle.manifest.metrics["classes"]) for handle in handles}
    ids = {_ids(handle) for handle in handles}
    if len(names) > 1 or len(ids) > 1:
        raise DataError(
            "masks of different photos or classes",
            where=folders[1],
            fix="Give the pseudo-masks folders of runs on the same data.",
        )
    classes, photos = ClassSet(names.pop()), ids.pop()
    counts = np.zeros(4, np.int64)
    with step_folder(
        PseudoMaskFolder,
        out,
        section={IMPORTED: MADE_BY},
        inputs={f"masks {place}": handle for place, handle in enumerate(handles, 1)},
    ) as step:
        for photo in photos:
            masks = [read_mask(_file(handle.path, photo), len(classes)) for handle in handles]
            if len({mask.shape for mask in masks}) > 1:
                raise DataError(f"masks of photo {photo!r} have different sizes", where=folders[1])
            common = agree(masks)
            counts += _pixel_counts(masks, common)
            if not step.complete:
                write_mask(_file(step.path, photo), common, classes.colors)
                step.journal.record(photo, MADE_BY, file_digest(_file(step.path, photo)))
        agreed, pixels, agreed_objects, objects = (int(count) for count in counts)
        shares = Shares(agreed / pixels, agreed_objects / objects if objects else 0.0)
        if not step.complete:
            metrics = {"classes": list(classes.names), IMPORTED: MADE_BY, **shares._asdict()}
            step.finish(counts={"photos": len(photos)}, metrics=metrics)
    return shares


def _pixel_counts(masks: Sequence[Labels], common: Labels) -> NDArray[np.int64]:
    """Return agreed and all pixels, then those that any mask gives to an object."""
    objects = reduce(np.logical_or, [(mask != BACKGROUND) & (mask != IGNORE) for mask in masks])
    agreed = common != IGNORE
    return np.array([agreed.sum(), agreed.size, (agreed & objects).sum(), objects.sum()])


def _ids(masks: PseudoMaskFolder) -> tuple[str, ...]:
    folder = masks.path / "masks"
    files = sorted(folder.rglob("*.png"))
    return tuple(file.relative_to(folder).with_suffix("").as_posix() for file in files)


def _file(folder: Path, photo: str) -> Path:
    return folder / "masks" / f"{photo}.png"


def main() -> None:
    """Write the common masks and print on how many pixels the folders agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("first", type=Path, metavar="MASKS")
    parser.add_argument("others", type=Path, nargs="+", metavar="MASKS")
    options = parser.parse_args()
    found = write_agreement(options.out, [options.first, *options.others])
    print(f"agree on {found.pixels:.1%} of the pixels, {found.objects:.1%} of the objects' pixels")


if __name__ == "__main__":
    main()
