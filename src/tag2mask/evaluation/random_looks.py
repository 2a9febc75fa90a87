"""How good the masks are, from what was decided about photos that were sampled at random.

``tag2mask ask`` samples from all training photos, whatever was decided about them before. A sample
counts once all of its photos are decided. Until then those of them that were chosen before, as
their masks are bad, would weigh too much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tag2mask.artifacts.items import checked_id, item_path
from tag2mask.data.corrections.folder import ASKED, Corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import RunFolderError, counted
from tag2mask.files.digests import digest
from tag2mask.files.json_file import read_json
from tag2mask.metrics.bootstrap import Interval, ResampledTallies, percentile_interval
from tag2mask.metrics.confusion import Confusion


@dataclass(frozen=True)
class RandomLooks:
    """Agreement of masks with what a person made of them.

    Attributes:
        photos: number of sampled photos whose masks were accepted or drawn.
        accepted: those that were accepted as they are.
        without: number of sampled photos with no mask to compare with, such as bad or unsure ones.
        miou: of the run's masks against the accepted and drawn ones, in [0, 1]; None: no photo.
        interval: 95 % interval; None: too few photos, or all of them alike, which resampling can't
            vary.
        undecided: number of photos of the last sample that must still be decided about these masks;
            0: it counts.
    """

    photos: int
    accepted: int
    without: int
    miou: float | None
    interval: Interval | None
    undecided: int

    @property
    def text(self) -> str:
        """The figures in one line."""
        left = counted(self.undecided, "more random photo is", "more random photos are")
        if self.miou is None:
            if not self.undecided:
                return "IoU of the masks unknown: no random photo was accepted or drawn"
            return f"IoU of the masks: known once {left} decided"
        ends = (
            ""
            if self.interval is None
            else " (95 % interval {:.0f}–{:.0f})".format(*(100 * end for end in self.interval))
        )
        looks = counted(self.photos, "random look", "random looks")
        return (
            f"IoU of the masks with accepted and drawn ones: {100 * self.miou:.1f} %{ends} "
            f"from {looks}; {self.accepted} accepted as they are"
            + (f"; {self.without} more, such as bad ones, not compared" if self.without else "")
            + (f"; the last list counts once {left} decided" if self.undecided else "")
        )


def random_looks(masks: Path, classes: int, corrections: Corrections) -> RandomLooks | None:
    """Compare masks with what a person made of them; None: no photo was sampled at random.

    Only decisions about these masks count: after a new training they are others.

    Args:
        masks: folder of the masks.
        classes: number of foreground classes C.
        corrections: what a person decided, with the samples of `tag2mask ask`.

    Raises:
        DataError: a mask can't be read.
        RunFolderError: the list of samples is damaged.
    """
    samples = read_samples(corrections.path)
    open_ones = [not_decided(sample, masks, corrections) for sample in samples]
    decided = [
        photo
        for sample, left in zip(samples, open_ones, strict=True)
        for photo in sample
        if not left
    ]
    if not samples or not (decided or open_ones[-1]):
        return None
    total, resampled = Confusion.empty(classes), ResampledTallies(classes)
    photos, accepted = 0, 0
    sure = set(corrections.sure)
    for photo, mask in corrections.masks_of(p for p in decided if p in sure).items():
        made = item_path(masks, photo, ".png")
        if not made.is_file():
            continue
        truth, found = read_mask(mask, classes), read_mask(made, classes)
        if truth.shape != found.shape:
            continue
        one = Confusion.empty(classes)
        one.add(truth, found)
        total.merge(one)
        resampled.add(photo, one.cells())
        photos += 1
        good = corrections.decisions[photo].verdict == "good"
        accepted += good and bool(np.array_equal(truth, found))
    return RandomLooks(
        photos,
        accepted,
        len(decided) - photos,
        total.miou() if photos else None,
        _interval(resampled) if photos else None,
        len(open_ones[-1]),
    )


def _interval(resampled: ResampledTallies) -> Interval | None:
    found = percentile_interval(resampled.miou())
    return None if found is None or found[0] == found[1] else found


def mask_looked_at(masks: Path, photo: str) -> str:
    """Return the sha256 (hex) of a photo's mask in a folder of masks; empty: it has none."""
    file = item_path(masks, photo, ".png")
    return digest(file) if file.is_file() else ""


def not_decided(photos: Iterable[str], masks: Path, corrections: Corrections) -> list[str]:
    """Return those photos that have no verdict about the mask that a folder of masks has."""

    def decided(photo: str) -> bool:
        own = corrections.decisions.get(photo)
        if own is None or own.verdict is None:
            return False
        return own.looked_at == mask_looked_at(masks, photo)

    return [photo for photo in photos if not decided(photo)]


def read_samples(folder: Path) -> list[list[str]]:
    """Return the random samples of photos, oldest first, without photos in common.

    Args:
        folder: the folder of corrections.

    Raises:
        RunFolderError: the list is damaged.
    """
    path = folder / ASKED
    if not path.is_file():
        return []
    try:
        samples = read_json(path).get("samples", [])
        return [[checked_id(photo) for photo in sample] for sample in samples]
    except (AttributeError, TypeError, ValueError, RunFolderError):
        raise damaged_list(folder) from None


def damaged_list(folder: Path) -> RunFolderError:
    """Return the error of a damaged list of photos to ask for."""
    return RunFolderError(
        f"{ASKED} is damaged", where=folder, fix="Delete it, or run `tag2mask ask` again."
    )
