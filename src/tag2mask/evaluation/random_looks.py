"""How good the masks are, from what was decided about photos that were drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tag2mask.artifacts.items import item_path
from tag2mask.data.corrections.folder import Corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import counted
from tag2mask.metrics.bootstrap import Interval, ResampledTallies, percentile_interval
from tag2mask.metrics.confusion import Confusion


@dataclass(frozen=True)
class RandomLooks:
    """Agreement of masks with what a person made of them.

    Attributes:
        photos: number of photos drawn at random whose masks were accepted or drawn.
        accepted: those that were accepted as they are.
        without: number of photos drawn at random that were bad or unsure: no mask to compare with.
        miou: of the run's masks against the accepted and drawn ones, in [0, 1].
        interval: 95 % interval; None: too few photos.
    """

    photos: int
    accepted: int
    without: int
    miou: float
    interval: Interval | None

    @property
    def text(self) -> str:
        """The figures in one line."""
        ends = (
            ""
            if self.interval is None
            else " ({:.0f}–{:.0f})".format(*(100 * end for end in self.interval))
        )
        looks = counted(self.photos, "random look", "random looks")
        return (
            f"IoU of the masks with accepted and drawn ones: {100 * self.miou:.1f} %{ends}, "
            f"95 % interval, from {looks}; {self.accepted} accepted as they are"
            + (f"; {self.without} more, bad or unsure, can't be compared" if self.without else "")
        )


def random_looks(masks: Path, classes: int, corrections: Corrections) -> RandomLooks | None:
    """Compare masks with what a person made of them; None: no photo can be compared yet.

    They must be the masks that were looked at: after a new training they are others.

    Args:
        masks: folder of the masks.
        classes: number of foreground classes C.
        corrections: what a person decided.

    Raises:
        DataError: a mask can't be read.
    """
    total, resampled = Confusion.empty(classes), ResampledTallies(classes)
    photos, accepted = 0, 0
    looked_at = [own for own in corrections.decisions.values() if own.at_random]
    drawn = corrections.masks()
    for own in looked_at:
        mask, made = drawn.get(own.photo), item_path(masks, own.photo, ".png")
        if mask is None or not made.is_file():
            continue
        truth, found = read_mask(mask, classes), read_mask(made, classes)
        if truth.shape != found.shape:
            continue
        one = Confusion.empty(classes)
        one.add(truth, found)
        total.merge(one)
        resampled.add(own.photo, _cells(one))
        photos += 1
        accepted += own.verdict == "good" and bool(np.array_equal(truth, found))
    if not photos:
        return None
    without = sum(own.verdict in ("bad", "unsure") for own in looked_at)
    return RandomLooks(
        photos, accepted, without, total.miou(), percentile_interval(resampled.miou())
    )


def _cells(confusion: Confusion) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the cells that are not 0 as (n, 3): true id, predicted id, pixels."""
    truth, predicted = np.nonzero(confusion.counts)
    return np.stack([truth, predicted, confusion.counts[truth, predicted]], axis=1)
