"""Boundary IoU (Cheng et al., CVPR 2021): overlap of the bands along the contours.

Plain IoU hardly sees a contour that is some pixels off on a large object. Boundary IoU compares
only the pixels of each mask that lie within d pixels of its own contour, d a share of the photo's
diagonal; the photo's border is a contour, as in the published definition.

The published evaluation knows no void inside a mask. Here a void pixel of the truth is given the
prediction's label before the contours are taken, and is not counted: a contour anywhere within the
void is right, one that leaves it is wrong.
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
    """Pixels of the bands, summed over photos, from which boundary IoU by class follows.

    Attributes:
        intersection, truth, prediction: int64 (C+1,), pixels in both bands of a class and in each.
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
            share: width of the band, share of the diagonal.
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
        """Boundary IoU by class (C+1); a class without any band: NaN (paper: 0)."""
        union = self.truth + self.prediction - self.intersection
        return ratio(self.intersection, union, empty=0.0 if published else np.nan)

    def miou(self, *, published: bool = False) -> float:
        """Mean boundary IoU over the classes that occur."""
        return mean_of_present(self.iou(published=published))


def band_width(size: tuple[int, ...], share: float) -> int:
    """Width of the band in pixels: ``share`` of the diagonal of (h, w), at least 1."""
    return max(1, round(share * math.hypot(*size)))


def contour_band(labels: Labels, width: int) -> npt.NDArray[np.bool_]:
    """Pixels within ``width`` (chessboard distance) of another label or of the border.

    One erosion of every class's mask at once: a pixel is inside its class where the square window
    around it holds a single label.

    Args:
        labels: mask ids uint8 (h, w).
        width: of the band, px.

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
