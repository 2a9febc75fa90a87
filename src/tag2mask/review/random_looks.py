"""How good the masks are, from what was decided about photos that were drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tag2mask.data.corrections.folder import Corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import counted
from tag2mask.metrics.bootstrap import Interval, ResampledTallies, percentile_interval
from tag2mask.metrics.confusion import Confusion
from tag2mask.review.folder import ReviewFolder


@dataclass(frozen=True)
class RandomLooks:
    """Agreement of masks with what a person made of them.

    Attributes:
        photos: number of photos drawn at random whose masks were accepted or drawn.
        accepted: those that were accepted as they are.
        miou: of the run's masks against the accepted and drawn ones, in [0, 1].
        interval: 95 % interval; None: too few photos.
    """

    photos: int
    accepted: int
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
        )


def random_looks(folder: ReviewFolder, corrections: Corrections) -> RandomLooks | None:
    """Compare the run's masks with those of a person; None: nothing was decided yet.

    The masks are the ones that the page shows first. They must be those that were looked at: after
    a new training they are others.

    Raises:
        DataError: a mask can't be read.
    """
    classes = len(folder.classes)
    total, resampled = Confusion.empty(classes), ResampledTallies(classes)
    photos, accepted = 0, 0
    name = next(iter(folder.masks))
    for photo, own in corrections.decisions.items():
        mask, shown = corrections.masks_of([photo]).get(photo), folder.mask_file(photo, name)
        if not own.at_random or own.verdict not in ("good", "corrected") or not mask or not shown:
            continue
        truth, found = read_mask(mask, classes), read_mask(shown, classes)
        if truth.shape != found.shape:
            continue
        one = Confusion.empty(classes)
        one.add(truth, found)
        total.merge(one)
        resampled.add(photo, _cells(one))
        photos += 1
        accepted += own.verdict == "good"
    if not photos:
        return None
    return RandomLooks(photos, accepted, total.miou(), percentile_interval(resampled.miou()))


def _cells(confusion: Confusion) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the cells that are not 0 as (n, 3): true id, predicted id, pixels."""
    truth, predicted = np.nonzero(confusion.counts)
    return np.stack([truth, predicted, confusion.counts[truth, predicted]], axis=1)
