"""The background of maps that hold the foreground only: the map (1 - max)^α, the threshold.

The maps have no background class. Two ways to add one are used, and they are equivalent:

- a constant threshold t: a pixel takes its best class where that class scores more than t
- AffinityNet's background map (1 - max)^α (Ahn & Kwak, CVPR 2018, section 3.1,
  https://arxiv.org/abs/1803.10464), which competes with the classes in a dense CRF or random walk

A class of score t ties with the background map (1 - t)^α where α = ln t / ln(1 - t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tag2mask.classes import mask_id
from tag2mask.errors import DataError
from tag2mask.metrics.threshold_curve import max_and_argmax

Float32 = npt.NDArray[np.float32]


def alpha_from_threshold(threshold: float) -> float:
    """Return the α at which a class of score t ties with the background: ln t / ln(1 - t).

    Args:
        threshold: background threshold t in (0, 1).

    Example:
        >>> from tag2mask.maps.background_threshold import alpha_from_threshold
        >>> [round(alpha_from_threshold(threshold), 1) for threshold in (0.2755, 0.2219, 0.0939)]
        [4.0, 6.0, 24.0]
    """
    assert 0 < threshold < 1, threshold
    return math.log(threshold) / math.log1p(-threshold)


def derived_alpha(threshold: float) -> float:
    """Return the α of the background map (1 - max)^α that is equivalent to a background threshold.

    Args:
        threshold: in [0, 1]; clipped to 0.01..0.99, because α is undefined at 0 and 1.
    """
    return alpha_from_threshold(min(max(threshold, 0.01), 0.99))


def threshold_from_alpha(alpha: float) -> float:
    """Return the background threshold that is equivalent to the background map (1 - max)^α.

    Inverts `alpha_from_threshold`.

    Args:
        alpha: > 0.

    Example:
        >>> from tag2mask.maps.background_threshold import threshold_from_alpha
        >>> round(threshold_from_alpha(6), 4)
        0.2219
    """
    from scipy.optimize import brentq

    assert alpha > 0, alpha
    return float(
        brentq(lambda threshold: alpha_from_threshold(threshold) - alpha, 1e-12, 1 - 1e-12)
    )


def with_background(scores: Float32, alpha: float | Sequence[float]) -> Float32:
    """Prepend the background map (1 - max)^α to the maps of the classes.

    Published: α = 4 and 24 for the labels of AffinityNet, 6 for SEAM's random walk.

    Args:
        scores: float32 (k, h, w) in [0, 1]; without any class (k = 0) the background map is 1.
        alpha: > 0; a larger α gives a weaker background. One for each class: a pixel's is that of
            its highest score.

    Returns:
        float32 (k+1, h, w) in [0, 1], background first.

    Example:
        >>> import numpy as np
        >>> from tag2mask.maps.background_threshold import with_background
        >>> scores = np.array([[[0.1, 0.5]], [[0.0, 0.8]]], np.float32)
        >>> with_background(scores, alpha=2).round(2)
        array([[[0.81, 0.04]],
        <BLANKLINE>
               [[0.1 , 0.5 ]],
        <BLANKLINE>
               [[0.  , 0.8 ]]], dtype=float32)
    """
    assert scores.ndim == 3 and np.all(np.asarray(alpha) > 0), (scores.shape, alpha)
    # Interpolated scores may exceed 1 by a rounding error: clip, or the power would be NaN.
    rest = np.clip(1 - scores.max(axis=0, initial=0.0), 0, None)  # (h, w)
    exponent = alpha
    if not isinstance(alpha, float | int):
        exponent = np.asarray(alpha)[scores.argmax(axis=0)] if len(scores) else 1.0
    return np.concatenate([(rest**exponent)[None], scores]).astype(np.float32, copy=False)


def against_background(maps: Float32) -> Float32:
    """Remove the background from maps; a class that exceeds it then scores more than 0.5.

    Score of class c: maps[c] / (background + largest class). So the largest class m scores
    m / (m + background), which exceeds 0.5 exactly where m exceeds the background, and the other
    classes keep their ratio to m. (If each class was divided by its own sum with the background,
    all classes would score about 1 where the background is close to 0.)

    Args:
        maps: float32 (k+1, h, w), >= 0; background first.

    Returns:
        float32 (k, h, w) in [0, 1]; 0 where the background and all classes are 0.

    Example:
        >>> import numpy as np
        >>> from tag2mask.maps.background_threshold import against_background
        >>> maps = np.array([[[0.6, 0.2]], [[0.2, 0.6]]], np.float32)
        >>> against_background(maps)
        array([[[0.25, 0.75]]], dtype=float32)
    """
    assert maps.ndim == 3 and len(maps) >= 1, maps.shape
    background, classes = maps[0], maps[1:]  # (h, w), (k, h, w)
    total = background + classes.max(axis=0, initial=0.0)
    scores: Float32 = np.divide(classes, total, out=np.zeros_like(classes), where=total > 0)
    return scores


HISTOGRAM_BINS = 256
"""The number of values of a map stored as uint8."""


def labels_from_scores(
    scores: Float32,
    tags: Sequence[int],
    background_threshold: float | Sequence[float],
    size: tuple[int, int],
) -> npt.NDArray[np.uint8]:
    """Label each pixel with its class of the highest score, or with the background.

    Args:
        scores: float32 (k, h, w), one channel per tag.
        tags: k tag ids in ascending order; none: all background.
        background_threshold: a class must exceed it; compared as float32. One for each tag: that
            of the pixel's highest score counts.
        size: (h, w) of the result if there is no tag.

    Returns:
        Mask ids, uint8 (h, w): 0 background, tag id + 1 for a class.

    Example:
        >>> import numpy as np
        >>> from tag2mask.maps.background_threshold import labels_from_scores
        >>> scores = np.array([[[0.1, 0.5]], [[0.0, 0.8]]], np.float32)
        >>> labels_from_scores(scores, tags=(3, 7), background_threshold=0.26, size=(1, 2))
        array([[0, 8]], dtype=uint8)
    """
    if not tags:
        return np.zeros(size, np.uint8)
    best, winner = max_and_argmax(scores)
    ids = np.array([mask_id(tag) for tag in tags], np.uint8)
    limits = np.asarray(background_threshold, np.float32)
    labels: npt.NDArray[np.uint8] = ids[winner] * (
        best > (limits[winner] if limits.ndim else limits)
    )
    return labels


@dataclass
class ScoreHistogram:
    """Histogram of the pixels' highest scores, summed over photos.

    Attributes:
        counts: int64 (256,), equal bins over [0, 1].
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> ScoreHistogram:
        """Return a histogram without any pixel."""
        return cls(np.zeros(HISTOGRAM_BINS, np.int64))

    def add(self, scores: Float32) -> None:
        """Add the scores of one photo, float32 (k, h, w) in [0, 1]; k = 0 adds nothing."""
        if not len(scores):
            return
        best, _ = max_and_argmax(scores)
        index = np.minimum((best * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
        self.counts += np.bincount(index.ravel(), minlength=HISTOGRAM_BINS)

    def merge(self, other: ScoreHistogram) -> None:
        """Add the counts of other photos or of another process."""
        self.counts += other.counts


def estimate_background_threshold(
    histogram: ScoreHistogram, *, section: str = "pseudo_masks"
) -> float:
    """Estimate the background threshold without masks, by Otsu's method.

    It splits the scores into the two groups with the least variance within them: Otsu, "A
    Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems, Man, and
    Cybernetics 9(1), 1979, https://doi.org/10.1109/TSMC.1979.4310076.

    Args:
        histogram: highest scores of the pixels of photos that have tags.
        section: section of the recipe whose settings an error names.

    Returns:
        The threshold in (0, 1), rounded to 1e-4.

    Raises:
        DataError: there are no scores, or all are equal.

    Example:
        Half of the pixels score about 0.1, half about 0.9.

        >>> import numpy as np
        >>> from tag2mask.maps.background_threshold import (
        ...     ScoreHistogram,
        ...     estimate_background_threshold,
        ... )
        >>> rng = np.random.default_rng(0)
        >>> scores = rng.normal((0.1, 0.9), 0.03, (1, 500, 2)).clip(0, 1).astype(np.float32)
        >>> histogram = ScoreHistogram.empty()
        >>> histogram.add(scores)
        >>> 0.1 < estimate_background_threshold(histogram) < 0.9
        True
    """
    if np.count_nonzero(histogram.counts) < 2:
        raise DataError(
            "no background threshold can be estimated: "
            + (
                "the maps hold one score only"
                if histogram.counts.any()
                else "no photo has a map of any class"
            ),
            where=f"{section}.threshold_from",
            fix=f"Check the maps, or set {section}.threshold_from=fixed and "
            f"{section}.background_threshold.",
        )
    from skimage.filters import threshold_otsu

    upper_edges = np.arange(1, HISTOGRAM_BINS + 1) / HISTOGRAM_BINS
    return round(float(threshold_otsu(hist=(histogram.counts, upper_edges))), 4)
