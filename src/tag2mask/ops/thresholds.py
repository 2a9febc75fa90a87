"""From maps to labels: the background score, and its estimate from maps alone.

Maps hold foreground only. A pixel goes to its strongest class if that score exceeds the background
score, else to the background: an argmax with a constant background channel in front, which wins
ties. Of equal classes the first wins.

Without any mask, the background score is Otsu's threshold of the pooled strongest scores: it parts
them into the two groups that differ most. Of the rules that need nothing but a histogram it depends
least on how large the objects are; docs/steps/pseudo-masks.md compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

from tag2mask.classes import mask_id
from tag2mask.errors import DataError

Float32 = npt.NDArray[np.float32]

HISTOGRAM_BINS = 256
"""As many as a stored map has steps."""


def strongest(scores: Float32) -> tuple[Float32, npt.NDArray[np.uint8]]:
    """Return each pixel's largest score and its channel.

    Args:
        scores: float32 (k, h, w), k of 1 to 254.

    Returns:
        float32 (h, w) and uint8 (h, w); of equal channels the first.
    """
    assert scores.ndim == 3 and 1 <= len(scores) <= 254, scores.shape
    # A running maximum: several times faster than argmax over the first axis.
    best = scores[0].copy()
    winner = np.zeros(best.shape, np.uint8)
    for channel in range(1, len(scores)):
        winner[scores[channel] > best] = channel
        np.maximum(best, scores[channel], out=best)
    return best, winner


def labels_from_scores(scores: Float32, tags: Sequence[int], background_score: float,
                       size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Label each pixel with its strongest class or the background.

    Args:
        scores: float32 (k, h, w) of the k tags.
        tags: k tag ids, rising; none: all background.
        background_score: a class must exceed it; compared as float32.
        size: (h, w), the result's where there is no tag.

    Returns:
        Mask ids uint8 (h, w).
    """
    if not tags:
        return np.zeros(size, np.uint8)
    best, winner = strongest(scores)
    ids = np.array([mask_id(tag) for tag in tags], np.uint8)
    labels: npt.NDArray[np.uint8] = ids[winner] * (best > np.float32(background_score))
    return labels


@dataclass
class ScoreHistogram:
    """Pixels by their strongest score, pooled over photos.

    Attributes:
        counts: int64 (256,), equal bins over [0, 1].
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> ScoreHistogram:
        """Return zero counts."""
        return cls(np.zeros(HISTOGRAM_BINS, np.int64))

    def add(self, scores: Float32) -> None:
        """Count one photo's scores, float32 (k, h, w) in [0, 1]; without a tag it says nothing."""
        if not len(scores):
            return
        best, _ = strongest(scores)
        index = np.minimum((best * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
        self.counts += np.bincount(index.ravel(), minlength=HISTOGRAM_BINS)

    def merge(self, other: ScoreHistogram) -> None:
        """Add the counts of other photos or of another process."""
        self.counts += other.counts


def estimate_background_score(histogram: ScoreHistogram, *,
                              section: str = "pseudo_masks") -> float:
    """Estimate the background score without any mask: Otsu's threshold (1979).

    Args:
        histogram: strongest scores of the photos that have tags.
        section: of the recipe that asks for it, to name its settings.

    Returns:
        A score in (0, 1), rounded to 1e-4.

    Raises:
        DataError: there are no scores, or they are all the same.
    """
    if np.count_nonzero(histogram.counts) < 2:
        raise DataError(
            "no background score can be estimated: "
            + ("the maps hold one score only" if histogram.counts.any()
               else "no photo has a map of any class"),
            where=f"{section}.background",
            fix=f"Look at the maps, or set {section}.background=fixed and {section}.score.",
        )
    upper_edges = np.arange(1, HISTOGRAM_BINS + 1) / HISTOGRAM_BINS
    return round(float(threshold_otsu(hist=(histogram.counts, upper_edges))), 4)
