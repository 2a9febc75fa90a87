"""Confusion matrix of label maps and the scores read from it.

Everything follows from one ``(C+1, C+1)`` table of pixel counts: it is summed over photos, merged
over processes, and read only at the end. A class that occurs nowhere, neither in the truth nor in
the prediction, has no IoU: it is NaN and stays out of means; ``published=True`` counts it as 0,
as the published evaluation does. Void pixels (255) of the truth are never counted.

The threshold curve, boundary IoU and tag scores have modules of their own beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tag2mask.classes import BACKGROUND, IGNORE, MAX_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]


@dataclass
class Confusion:
    """Pixel counts by true and predicted mask id.

    Attributes:
        counts: int64 (C+1, C+1); rows truth, columns prediction.
    """

    counts: Int64

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """Return zero counts for ``classes`` foreground classes."""
        assert 1 <= classes <= MAX_CLASSES
        return cls(np.zeros((classes + 1, classes + 1), np.int64))

    def add(self, truth: Labels, prediction: Labels) -> None:
        """Count one photo.

        Args:
            truth: mask ids uint8 (h, w), 255 = void.
            prediction: mask ids uint8 (h, w) in 0..C.
        """
        assert truth.shape == prediction.shape, (truth.shape, prediction.shape)
        index = truth.astype(np.uint16)
        index *= 256
        index += prediction
        table = np.bincount(index.ravel(), minlength=256 * 256).reshape(256, 256)
        size = len(self.counts)
        # Everything outside the table must be void; void never outside the truth.
        assert not table[size:IGNORE].any(), "the truth holds values outside the class list"
        assert not table[:size, size:].any(), "the prediction holds values outside the class list"
        self.counts += table[:size, :size]

    def merge(self, other: Confusion) -> None:
        """Add another matrix's counts, of other photos or another process."""
        assert self.counts.shape == other.counts.shape
        self.counts += other.counts

    @property
    def true_positives(self) -> Int64:
        """Rightly labeled pixels by class (C+1)."""
        return np.diagonal(self.counts).copy()

    @property
    def false_positives(self) -> Int64:
        """Pixels given to a class that are another's, by class (C+1)."""
        predicted: Int64 = self.counts.sum(axis=0)
        return predicted - self.true_positives

    @property
    def false_negatives(self) -> Int64:
        """Pixels of a class given to another one, by class (C+1)."""
        true: Int64 = self.counts.sum(axis=1)
        return true - self.true_positives

    def iou(self, *, published: bool = False) -> Float64:
        """Intersection over union by class (C+1), in [0, 1]; an absent class: NaN (paper: 0)."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.true_positives, union, empty=0.0 if published else np.nan)

    def miou(self, *, published: bool = False) -> float:
        """Mean IoU over the classes that occur (paper: over all); NaN without any pixel."""
        return mean_of_present(self.iou(published=published))

    def precision(self) -> Float64:
        """Share of a class's predicted pixels that are right (C+1); never predicted: NaN."""
        return ratio(self.true_positives, self.true_positives + self.false_positives)

    def recall(self) -> Float64:
        """Share of a class's true pixels that are found (C+1); not in the truth: NaN."""
        return ratio(self.true_positives, self.true_positives + self.false_negatives)

    def false_positive_share(self) -> Float64:
        """FP / (TP + FP + FN) by class (C+1): how much of the union spills over.

        IoU, this and ``false_negative_share`` sum to 1 (published evaluation code of SEAM).
        """
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.false_positives, union)

    def false_negative_share(self) -> Float64:
        """FN / (TP + FP + FN) by class (C+1): how much of the union is missed."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.false_negatives, union)

    def over_activation(self) -> float:
        """Mean FP / TP over the foreground classes found at all (SEAM, m_FP)."""
        return mean_of_present(ratio(self.false_positives, self.true_positives)[BACKGROUND + 1 :])

    def under_activation(self) -> float:
        """Mean FN / TP over the foreground classes found at all (SEAM, m_FN)."""
        return mean_of_present(ratio(self.false_negatives, self.true_positives)[BACKGROUND + 1 :])

    def pixel_accuracy(self) -> float:
        """Share of the pixels labeled rightly; NaN without any pixel."""
        pixels = int(self.counts.sum())
        return float(self.true_positives.sum() / pixels) if pixels else float("nan")


def ratio(numerator: Int64, denominator: Int64, *, empty: float = np.nan) -> Float64:
    """``numerator / denominator``, elementwise; ``empty`` where the denominator is 0."""
    out = np.full(np.shape(denominator), empty, np.float64)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def mean_of_present(values: Float64) -> float:
    """Mean of the values that are not NaN; NaN if none is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
