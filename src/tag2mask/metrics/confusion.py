"""Confusion matrix of label maps, and the scores computed from it.

IoU is that of PASCAL VOC (Everingham et al., "The PASCAL Visual Object Classes Challenge: A
Retrospective", IJCV 2015, https://doi.org/10.1007/s11263-014-0733-5): for each class,

    IoU = TP / (TP + FP + FN)

over the pixels of all photos together; mIoU is its mean over the classes, background included.

A class that occurs neither in the truth nor in the prediction has no IoU: it is NaN and excluded
from means. ``published=True`` counts it as 0, as the published evaluation code does. Void pixels
(255) of the truth are never counted.
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

    Example:
        >>> import numpy as np
        >>> from tag2mask.metrics.confusion import Confusion
        >>> confusion = Confusion.empty(classes=1)
        >>> confusion.add(np.array([[0, 1, 1, 255]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8))
        >>> confusion.iou()
        array([0.5, 0.5])
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
        # Outside the matrix there may be void only, and only in the truth.
        assert not table[size:IGNORE].any(), "the truth holds values outside the class list"
        assert not table[:size, size:].any(), "the prediction holds values outside the class list"
        self.counts += table[:size, :size]

    def merge(self, other: Confusion) -> None:
        """Add the counts of other photos or of another process."""
        assert self.counts.shape == other.counts.shape
        self.counts += other.counts

    def cells(self) -> Int64:
        """Return the nonzero counts as (n, 3): true id, predicted id, pixels; few for one photo."""
        truth, predicted = np.nonzero(self.counts)
        return np.stack([truth, predicted, self.counts[truth, predicted]], axis=1)

    @property
    def true_positives(self) -> Int64:
        """Correctly labeled pixels by class, TP (C+1,)."""
        return np.diagonal(self.counts).copy()

    @property
    def false_positives(self) -> Int64:
        """Pixels of other classes predicted as the class, FP (C+1,)."""
        predicted: Int64 = self.counts.sum(axis=0)
        return predicted - self.true_positives

    @property
    def false_negatives(self) -> Int64:
        """Pixels of the class predicted as another one, FN (C+1,)."""
        true: Int64 = self.counts.sum(axis=1)
        return true - self.true_positives

    def iou(self, *, published: bool = False) -> Float64:
        """Return TP / (TP + FP + FN) by class (C+1,) in [0, 1]; absent: NaN (published: 0)."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.true_positives, union, empty=0.0 if published else np.nan)

    def miou(self, *, published: bool = False) -> float:
        """Return the mean IoU of the classes present (published: of all); NaN without any pixel."""
        return mean_of_present(self.iou(published=published))

    def precision(self) -> Float64:
        """Return TP / (TP + FP) by class (C+1,); NaN for a class that is never predicted."""
        return ratio(self.true_positives, self.true_positives + self.false_positives)

    def recall(self) -> Float64:
        """Return TP / (TP + FN) by class (C+1,); NaN for a class that is not in the truth."""
        return ratio(self.true_positives, self.true_positives + self.false_negatives)

    def false_positive_share(self) -> Float64:
        """Return FP / (TP + FP + FN) by class (C+1,).

        IoU, this share and `false_negative_share` sum to 1. The evaluation code of SEAM reports
        both shares (https://github.com/YudeWang/SEAM).
        """
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.false_positives, union)

    def false_negative_share(self) -> Float64:
        """Return FN / (TP + FP + FN) by class (C+1,)."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.false_negatives, union)

    def over_activation(self) -> float:
        """Return m_FP of SEAM (CVPR 2020): mean FP / TP over the foreground classes with TP > 0."""
        return mean_of_present(ratio(self.false_positives, self.true_positives)[BACKGROUND + 1 :])

    def under_activation(self) -> float:
        """Return m_FN of SEAM (CVPR 2020): mean FN / TP over the foreground classes with TP > 0."""
        return mean_of_present(ratio(self.false_negatives, self.true_positives)[BACKGROUND + 1 :])

    def pixel_accuracy(self) -> float:
        """Return the share of correctly labeled pixels; NaN without any pixel."""
        pixels = int(self.counts.sum())
        return float(self.true_positives.sum() / pixels) if pixels else float("nan")


def ratio(
    numerator: Int64 | Float64, denominator: Int64 | Float64, *, empty: float = np.nan
) -> Float64:
    """Return ``numerator / denominator`` elementwise; ``empty`` where the denominator is 0."""
    out = np.full(np.shape(denominator), empty, np.float64)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def mean_of_present(values: Float64) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
