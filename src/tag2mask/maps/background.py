"""The background of foreground-only maps, and maps that hold one brought back to foreground only.

AffinityNet (Ahn and Kwak, CVPR 2018) gives the background the score (1 - max)^α, with which it
competes in the dense CRF and in the random walk. α and a background threshold t are one thing: a
class of score t beats the background where t > (1 - t)^α.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from skimage.filters import threshold_otsu

from tag2mask.classes import mask_id
from tag2mask.errors import DataError
from tag2mask.metrics.threshold_curve import max_and_argmax

Float32 = npt.NDArray[np.float32]


def alpha_from_threshold(score: float) -> float:
    """The α at which a class of this score just ties with the background: ln t / ln(1 - t).

    Args:
        score: background threshold t in (0, 1); 0.2755 gives 4, 0.2219 gives 6, 0.0939 gives 24.
    """
    assert 0 < score < 1, score
    return math.log(score) / math.log1p(-score)


def threshold_from_alpha(alpha: float) -> float:
    """The background threshold that ties with (1 - max)^α: the inverse of `alpha_from_threshold`.

    Args:
        alpha: > 0; 6 gives 0.2219.
    """
    assert alpha > 0, alpha
    return float(brentq(lambda score: alpha_from_threshold(score) - alpha, 1e-12, 1 - 1e-12))


def with_background(scores: Float32, alpha: float) -> Float32:
    """Put the background's score (1 - max)^α in front.

    Args:
        scores: float32 (k, h, w) in [0, 1]; without a class (k = 0) all is background.
        alpha: > 0; the larger, the weaker the background.

    Returns:
        float32 (k+1, h, w).
    """
    assert scores.ndim == 3 and alpha > 0, (scores.shape, alpha)
    # Interpolated scores may pass 1 by a rounding error, which has no fractional power.
    rest = np.clip(1 - scores.max(axis=0, initial=0.0), 0, None)
    return np.concatenate([(rest**alpha)[None], scores]).astype(np.float32, copy=False)


def against_background(maps: Float32) -> Float32:
    """Turn maps with a background into foreground-only scores that beat 0.5 where they beat it.

    Score of class c: maps[c] / (background + largest class). So the strongest class m scores
    m / (m + background), which exceeds 0.5 exactly where m exceeds the background, and the other
    classes keep their ratio to it. (Each divided by its own sum with the background, classes would
    no longer be told apart where the background is next to nothing.)

    Args:
        maps: float32 (k+1, h, w), >= 0; background first.

    Returns:
        float32 (k, h, w) in [0, 1]; 0 where neither background nor any class has a score.
    """
    assert maps.ndim == 3 and len(maps) >= 1, maps.shape
    background, classes = maps[0], maps[1:]
    total = background + classes.max(axis=0, initial=0.0)
    scores: Float32 = np.divide(classes, total, out=np.zeros_like(classes), where=total > 0)
    return scores


HISTOGRAM_BINS = 256
"""As many as a stored map has steps."""


def labels_from_scores(
    scores: Float32, tags: Sequence[int], background_threshold: float, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Label each pixel with its strongest class or the background.

    Args:
        scores: float32 (k, h, w) of the k tags.
        tags: k tag ids, rising; none: all background.
        background_threshold: a class must exceed it; compared as float32.
        size: (h, w), the result's where there is no tag.

    Returns:
        Mask ids uint8 (h, w).
    """
    if not tags:
        return np.zeros(size, np.uint8)
    best, winner = max_and_argmax(scores)
    ids = np.array([mask_id(tag) for tag in tags], np.uint8)
    labels: npt.NDArray[np.uint8] = ids[winner] * (best > np.float32(background_threshold))
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
        best, _ = max_and_argmax(scores)
        index = np.minimum((best * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
        self.counts += np.bincount(index.ravel(), minlength=HISTOGRAM_BINS)

    def merge(self, other: ScoreHistogram) -> None:
        """Add the counts of other photos or of another process."""
        self.counts += other.counts


def estimate_background_threshold(
    histogram: ScoreHistogram, *, section: str = "pseudo_masks"
) -> float:
    """Estimate the background threshold without any mask: Otsu's threshold (1979).

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
            "no background threshold can be estimated: "
            + (
                "the maps hold one score only"
                if histogram.counts.any()
                else "no photo has a map of any class"
            ),
            where=f"{section}.background",
            fix=f"Look at the maps, or set {section}.threshold_from=fixed and "
            f"{section}.background_threshold.",
        )
    upper_edges = np.arange(1, HISTOGRAM_BINS + 1) / HISTOGRAM_BINS
    return round(float(threshold_otsu(hist=(histogram.counts, upper_edges))), 4)
