"""95 % intervals: a bootstrap of scores that are computed from pixel counts, and Wilson's of rates.

The bootstrap (Efron, 1979) asks how much a score would change with other photos of the same kind.
Instead of drawing photos with replacement, each photo gets a random weight from a Poisson
distribution with mean 1 (Chamandy et al., "Estimating Uncertainty for Massive Data Streams", 2012,
https://research.google/pubs/pub43157/): photos can then be counted one after the other, in memory
that doesn't grow with their number. Photos of one group, such as several views of one object, share
a weight, because they are not independent.

A weight depends only on the name of the group. So the order of the photos doesn't matter, and two
runs that were scored on the same photos are resampled the same way: the interval of their
difference is that of the differences, resample by resample.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from tag2mask.metrics.confusion import Float64, Int64, ratio

RESAMPLES = 1000
COVERAGE = 0.95
_MOST_UNDEFINED = 0.08
"""A value of n groups is undefined in a share e^-n of the resamples: of 2 in 14 %, of 3 in 5 %."""
_POISSON = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(12)])
_WEIGHTS = np.searchsorted(_POISSON, (np.arange(2**16) + 0.5) / 2**16)
"""Poisson weights of mean 1 by a uniform number of 16 bits."""

Interval = tuple[float, float]
"""Lower and upper end."""


def poisson_weights(group: str) -> Int64:
    """Return the weights of a group in the resamples, int64 (`RESAMPLES`,), of mean 1.

    They follow from a hash of the name, and are the same on every machine.
    """
    bits = hashlib.shake_128(group.encode()).digest(2 * RESAMPLES)
    weights: Int64 = _WEIGHTS[np.frombuffer(bits, "<u2")]
    return weights


class ResampledTallies:
    """Pixels of each class in each resample: true, predicted, and both.

    Scores have the same formulas as those of `tag2mask.metrics.confusion.Confusion`, with one
    column per resample. Needs 24 kB per class, whatever the number of photos.

    Args:
        classes: number of foreground classes.
    """

    def __init__(self, classes: int) -> None:
        self._sums: Float64 = np.zeros((3 * (classes + 1), RESAMPLES))

    def add(self, group: str, cells: Int64) -> None:
        """Count one photo.

        Args:
            group: what the photo shares with others; its id if it shares nothing.
            cells: its confusion matrix as (n, 3): true id, predicted id, pixels.
        """
        size = len(self._sums) // 3
        truth, predicted, pixels = cells.T
        right = truth == predicted
        places = np.concatenate([truth[right], size + truth, 2 * size + predicted])
        used, inverse = np.unique(places, return_inverse=True)
        values = np.bincount(inverse, np.concatenate([pixels[right], pixels, pixels]))
        self._sums[used] += values[:, None] * poisson_weights(group)

    def merge(self, other: ResampledTallies) -> None:
        """Add the counts of other photos or of another process."""
        assert self._sums.shape == other._sums.shape
        self._sums += other._sums

    def iou(self, *, published: bool = False) -> Float64:
        """Return the IoU by class and resample (C+1, R); absent: NaN (published: 0)."""
        hits, true, predicted = self._tallies()
        return ratio(hits, true + predicted - hits, empty=0.0 if published else np.nan)

    def miou(self, *, published: bool = False) -> Float64:
        """Return the mean IoU by resample (R,); NaN without any pixel."""
        means = _column_means(self.iou(published=published))
        pixels = self._tallies()[1].sum(axis=0)
        return np.where(pixels > 0, means, np.nan)

    def precision(self) -> Float64:
        """Return the precision by class and resample (C+1, R)."""
        hits, _, predicted = self._tallies()
        return ratio(hits, predicted)

    def recall(self) -> Float64:
        """Return the recall by class and resample (C+1, R)."""
        hits, true, _ = self._tallies()
        return ratio(hits, true)

    def _tallies(self) -> tuple[Float64, Float64, Float64]:
        hits, true, predicted = np.split(self._sums, 3)
        return hits, true, predicted


def percentile_interval(values: Float64) -> Interval | None:
    """Return the 95 % interval of a score from its values in the resamples (R,).

    None if fewer than three groups of photos contribute to it: their weights would then say nothing
    about other photos.
    """
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(values):
        return None
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def wilson_interval(hits: int, photos: int, groups: int | None = None) -> Interval | None:
    """Return the 95 % interval of the rate ``hits / photos`` (Wilson, 1927); None without photos.

    Unlike the bootstrap it is right at rates of 0 and 1: of 20 photos without a miss, the rate of
    misses may still be 16 %.

    Args:
        hits: photos counted.
        photos: photos in all.
        groups: groups that these photos belong to; photos of one group are taken for copies of each
            other, the cautious extreme. None: each photo is its own.

    Example:
        >>> from tag2mask.metrics.bootstrap import wilson_interval
        >>> low, high = wilson_interval(0, 20)
        >>> round(low, 3), round(high, 3)
        (0.0, 0.161)
    """
    if photos == 0:
        return None
    rate, n, z2 = hits / photos, groups or photos, 1.959963984540054**2
    center = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def _column_means(values: Float64) -> Float64:
    """Return the mean of each column over its values that are not NaN; NaN without any."""
    present = ~np.isnan(values)
    total: Float64 = np.where(present, values, 0.0).sum(axis=0)
    return ratio(total, present.sum(axis=0))
