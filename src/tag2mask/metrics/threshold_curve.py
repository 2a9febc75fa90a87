"""mIoU at every background threshold, in one pass over the photos.

The class with the highest score at a pixel doesn't depend on the background threshold t; t only
decides between that class (score > t) and the background. So each photo is reduced to counts by
(true class, best class, number of thresholds below the score), and the confusion matrix at each
threshold is a cumulative sum of these counts. The result is exactly that of one pass per threshold.

Scores and thresholds are compared as float32, as in the published evaluation code
(https://github.com/YudeWang/SEAM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tag2mask.classes import BACKGROUND, IGNORE, MAX_CLASSES, mask_id
from tag2mask.metrics.confusion import Confusion, Float64, Int64, Labels, mean_of_present, ratio

_MIN_CELLS = 1024
_MAX_CELLS = 1 << 15

Float32 = npt.NDArray[np.float32]


class PhotoCurve(NamedTuple):
    """Pixel counts of one photo, for its tags only.

    Attributes:
        tags: k tag ids.
        counts: int64 (C+1, k, T+1) as in `ThresholdCurve`; without tags, (C+1, 1, T+1).
    """

    tags: tuple[int, ...]
    counts: Int64

    def cells(self, index: int) -> Int64:
        """Return the nonzero counts at ``thresholds[index]``; see `Confusion.cells`."""
        won = self.counts[:, :, index + 1 :].sum(axis=2)
        lost = self.counts[:, :, : index + 1].sum(axis=(1, 2))
        ids = np.array([BACKGROUND, *map(mask_id, self.tags)])
        table = np.concatenate([lost[:, None], won], axis=1)
        truth, column = np.nonzero(table)
        return np.stack([truth, ids[column], table[truth, column]], axis=1)


@dataclass
class ThresholdCurve:
    """Pixel counts that give the confusion matrix at each of T background thresholds.

    Attributes:
        thresholds: float32 (T,), strictly increasing, in [0, 1].
        counts: int64 (C+1, C, T+1), by true mask id, tag id of the highest score, and number of
            thresholds below that score.

    Example:
        >>> import numpy as np
        >>> from tag2mask.metrics.threshold_curve import ThresholdCurve
        >>> curve = ThresholdCurve.empty(classes=1, thresholds=[0.2, 0.5])
        >>> scores = np.array([[[0.3, 0.7]]], np.float32)
        >>> curve.add(np.array([[0, 1]], np.uint8), tags=[0], scores=scores)
        >>> curve.miou()
        array([0.25, 1.  ])
        >>> curve.best()
        (0.5, 1.0)
    """

    thresholds: Float32
    counts: Int64

    def __post_init__(self) -> None:
        self._bins = _Bins(self.thresholds)

    @classmethod
    def empty(cls, classes: int, thresholds: Sequence[float]) -> ThresholdCurve:
        """Return zero counts.

        Args:
            classes: C, the number of foreground classes.
            thresholds: T background thresholds, strictly increasing, in [0, 1].
        """
        assert 1 <= classes <= MAX_CLASSES
        values = np.asarray(thresholds, np.float32)
        return cls(values, np.zeros((classes + 1, classes, len(values) + 1), np.int64))

    def add(self, truth: Labels, tags: Sequence[int], scores: Float32) -> None:
        """Count one photo; see `count`."""
        self.add_photo(self.count(truth, tags, scores))

    def add_photo(self, photo: PhotoCurve) -> None:
        """Add the counts of one photo, from `count`."""
        if photo.tags:
            self.counts[:, list(photo.tags)] += photo.counts
        else:  # Background at any threshold: bin 0 of an arbitrary class.
            self.counts[:, :1] += photo.counts

    def count(self, truth: Labels, tags: Sequence[int], scores: Float32) -> PhotoCurve:
        """Return the counts of one photo.

        Args:
            truth: mask ids uint8 (H, W), 255 = void.
            tags: k tag ids, increasing.
            scores: float32 (k, H, W) in [0, 1] of these tags.
        """
        assert scores.shape == (len(tags), *truth.shape), (scores.shape, len(tags), truth.shape)
        bins = len(self.thresholds) + 1
        if not tags:
            found = np.zeros((len(self.counts), 1, bins), np.int64)
            found[:, 0, 0] = np.bincount(truth.ravel(), minlength=256)[: len(self.counts)]
            return PhotoCurve((), found)
        best, winner = max_and_argmax(scores)
        # With few tags, as in nearly all photos, the index fits into 16 bits, which is faster.
        rows, kinds = 256, len(tags) * bins
        index_type: type[np.uint16 | np.int64] = np.uint16 if rows * kinds <= 1 << 16 else np.int64
        index: npt.NDArray[Any] = truth.astype(index_type)
        index *= kinds
        if len(tags) > 1:
            offset: npt.NDArray[Any] = winner.astype(index_type)
            offset *= bins
            index += offset
        index += self._bins.of(best)
        table = np.bincount(index.ravel(), minlength=rows * kinds).reshape(rows, len(tags), bins)
        size = len(self.counts)
        assert not table[size:IGNORE].any(), "the truth holds values outside the class list"
        return PhotoCurve(tuple(tags), table[:size])

    def index(self, threshold: float) -> int:
        """Return the place of one of the thresholds, compared as float32."""
        return int(np.searchsorted(self.thresholds, np.float32(threshold)))

    def merge(self, other: ThresholdCurve) -> None:
        """Add the counts of other photos or of another process."""
        assert np.array_equal(self.thresholds, other.thresholds)
        self.counts += other.counts

    def select(self, indices: Sequence[int]) -> ThresholdCurve:
        """Return the counts at some of the thresholds, given by their increasing indices."""
        starts = [0, *(index + 1 for index in indices)]
        return ThresholdCurve(
            self.thresholds[list(indices)], np.add.reduceat(self.counts, starts, axis=2)
        )

    def confusion(self, index: int) -> Confusion:
        """Return the confusion matrix at ``thresholds[index]``."""
        won: Int64 = self.counts[:, :, index + 1 :].sum(axis=2)
        lost: Int64 = self.counts[:, :, : index + 1].sum(axis=(1, 2))
        return Confusion(np.concatenate([lost[:, None], won], axis=1))

    def iou(self, *, published: bool = False) -> Float64:
        """Return IoU by threshold and class (T, C+1); NaN (published: 0) for absent classes."""
        true, predicted, hits = self.tallies()
        union = true[:, None] + predicted - hits
        return ratio(hits, union, empty=0.0 if published else np.nan).T

    def tallies(self) -> tuple[Int64, Int64, Int64]:
        """Return the true pixels (C+1,), predicted pixels (C+1, T) and true positives (C+1, T)."""
        # (C+1, C, T): pixels whose best class scores above threshold i.
        won = np.cumsum(self.counts[:, :, ::-1], axis=2)[:, :, ::-1][:, :, 1:]
        true: Int64 = self.counts.sum(axis=(1, 2))
        hits: Int64 = np.einsum("cct->ct", won[mask_id(0) :])
        hits = np.concatenate([true[BACKGROUND] - won[BACKGROUND].sum(axis=0)[None], hits])
        predicted: Int64 = won.sum(axis=0)
        predicted = np.concatenate([true.sum() - predicted.sum(axis=0)[None], predicted])
        return true, predicted, hits

    def miou(self, *, published: bool = False) -> Float64:
        """Return the mean IoU by threshold (T,); see `Confusion.miou`."""
        return np.array([mean_of_present(row) for row in self.iou(published=published)])

    def best(self, *, published: bool = False) -> tuple[float, float]:
        """Return the best threshold (the lowest of ties) and its mIoU (NaN without any pixel)."""
        miou = self.miou(published=published)
        index = int(np.argmax(np.nan_to_num(miou, nan=-1.0)))
        return round(float(self.thresholds[index]), 6), float(miou[index])


class _Bins:
    """Number of thresholds strictly below a score, several times faster than binary search.

    [0, 1] is divided into equal cells with at most one threshold each. A table gives the number of
    thresholds below each cell; one comparison with the next threshold makes the result exact.
    """

    def __init__(self, thresholds: Float32) -> None:
        assert thresholds.ndim == 1 and len(thresholds) >= 1
        assert thresholds[0] >= 0 and thresholds[-1] <= 1 and (np.diff(thresholds) > 0).all()
        self._thresholds = thresholds
        self._type: type[np.uint8 | np.uint16] = np.uint8 if len(thresholds) < 256 else np.uint16
        # Powers of two, so that the product with a float32 is exact.
        self._cells = _MIN_CELLS
        cells = self._cell(thresholds)
        while len(np.unique(cells)) < len(cells) and self._cells < _MAX_CELLS:
            self._cells *= 2
            cells = self._cell(thresholds)
        self._fine = len(np.unique(cells)) == len(cells)
        below = np.searchsorted(cells, np.arange(self._cells + 1))
        self._below: npt.NDArray[Any] = below.astype(self._type)
        self._next = np.append(thresholds, np.float32(np.inf))

    def of(self, scores: Float32) -> npt.NDArray[Any]:
        """Return the number of thresholds < score for scores in [0, 1]; same shape."""
        if not self._fine:
            exact = np.searchsorted(self._thresholds, scores, side="left")
            return exact.astype(self._type)
        # Interpolated scores may exceed 1 by a rounding error; they belong to the last cell.
        bins: npt.NDArray[Any] = self._below.take(self._cell(scores), mode="clip")
        bins += scores > self._next.take(bins)
        return bins

    def _cell(self, scores: Float32) -> npt.NDArray[np.uint16]:
        return (scores * np.float32(self._cells)).astype(np.uint16)


def max_and_argmax(scores: Float32) -> tuple[Float32, npt.NDArray[np.uint8]]:
    """Return the largest score of each pixel and its channel.

    Args:
        scores: float32 (k, h, w), k of 1 to 254.

    Returns:
        float32 (h, w) and uint8 (h, w); the first of equal channels.
    """
    assert scores.ndim == 3 and 1 <= len(scores) <= 254, scores.shape
    # A running maximum is several times faster than argmax over the first axis.
    best = scores[0].copy()
    winner = np.zeros(best.shape, np.uint8)
    for channel in range(1, len(scores)):
        winner[scores[channel] > best] = channel
        np.maximum(best, scores[channel], out=best)
    return best, winner
