"""Boundary IoU: overlap of the bands along the contours of two masks.

Cheng, Girshick, Dollár, Berg, Kirillov: "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", CVPR 2021 (https://arxiv.org/abs/2103.16562), section 4:

    boundary IoU(G, P) = |(G_d ∩ G) ∩ (P_d ∩ P)| / |(G_d ∩ G) ∪ (P_d ∩ P)|

G is the true mask and P the predicted one; G_d and P_d are the pixels within d of their contours,
where d is a share of the photo's diagonal. Plain IoU changes little where the contour of a large
object is off by a few pixels; boundary IoU changes much. As in the paper, the photo's border counts
as a contour.

The paper does not define void pixels. Here a void pixel of the truth takes the predicted label
before the contours are computed, and is not counted: a predicted contour inside the void is
correct, and one outside it is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tag2mask.classes import IGNORE, MAX_CLASSES
from tag2mask.metrics.confusion import Float64, Int64, Labels, mean_of_present, ratio


@dataclass
class BoundaryCounts:
    """Pixel counts of the bands of each class, summed over photos.

    Attributes:
        intersection: int64 (C+1,), pixels in the true and in the predicted band of the class.
        truth: int64 (C+1,), pixels in the true band.
        prediction: int64 (C+1,), pixels in the predicted band.

    Example:
        >>> import numpy as np
        >>> from tag2mask.metrics.boundary_iou import BoundaryCounts
        >>> truth = np.zeros((40, 40), np.uint8)
        >>> truth[10:30, 10:30] = 1
        >>> counts = BoundaryCounts.empty(classes=1)
        >>> counts.add(truth, np.roll(truth, 1, axis=0), share=0.05)
        >>> counts.iou().round(2)
        array([0.88, 0.71])
    """

    intersection: Int64
    truth: Int64
    prediction: Int64

    @classmethod
    def empty(cls, classes: int) -> BoundaryCounts:
        """Return zero counts for ``classes`` foreground classes."""
        assert 1 <= classes <= MAX_CLASSES
        return cls(*(np.zeros(classes + 1, np.int64) for _ in range(3)))

    def add(self, truth: Labels, prediction: Labels, share: float) -> None:
        """Count one photo.

        Args:
            truth: mask ids uint8 (h, w), 255 = void.
            prediction: mask ids uint8 (h, w) in 0..C.
            share: width of the band as a share of the diagonal, in (0, 1).
        """
        assert truth.shape == prediction.shape, (truth.shape, prediction.shape)
        void = truth == IGNORE
        filled = np.where(void, prediction, truth)
        width = band_width(truth.shape, share)
        counted = ~void
        in_truth = contour_band(filled, width) & counted
        in_prediction = contour_band(prediction, width) & counted
        size = len(self.truth)
        both = in_truth & in_prediction & (filled == prediction)
        self.intersection += np.bincount(filled[both], minlength=size)
        self.truth += np.bincount(filled[in_truth], minlength=size)
        self.prediction += np.bincount(prediction[in_prediction], minlength=size)

    def merge(self, other: BoundaryCounts) -> None:
        """Add the counts of other photos or of another process."""
        self.intersection += other.intersection
        self.truth += other.truth
        self.prediction += other.prediction

    def iou(self, *, published: bool = False) -> Float64:
        """Return boundary IoU by class (C+1,) in [0, 1]; NaN (published: 0) for an absent class."""
        union = self.truth + self.prediction - self.intersection
        return ratio(self.intersection, union, empty=0.0 if published else np.nan)

    def miou(self, *, published: bool = False) -> float:
        """Return the mean of `iou` over the classes that are not NaN."""
        return mean_of_present(self.iou(published=published))


def band_width(size: tuple[int, ...], share: float) -> int:
    """Return the width of the band in pixels: ``share`` of the diagonal of (h, w), at least 1."""
    return max(1, round(share * math.hypot(*size)))


def contour_band(labels: Labels, width: int) -> npt.NDArray[np.bool_]:
    """Return the pixels within ``width`` (chessboard distance) of another label or of the border.

    Equals eroding the mask of each class: a pixel survives where the square window around it has a
    single label, which one minimum and one maximum filter find for all classes at once.

    Args:
        labels: mask ids uint8 (h, w).
        width: of the band, in pixels.

    Returns:
        bool (h, w).
    """
    window = 2 * width + 1
    lowest = ndimage.minimum_filter(labels, window, mode="nearest")
    highest = ndimage.maximum_filter(labels, window, mode="nearest")
    band: npt.NDArray[np.bool_] = lowest != highest
    band[:width] = band[-width:] = True
    band[:, :width] = band[:, -width:] = True
    return band
