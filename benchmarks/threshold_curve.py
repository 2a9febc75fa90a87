"""Time of the mIoU at 60 background thresholds: one pass over the photos, or a pass for each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Row, side_by_side
from tag2mask.classes import VOC_NAMES
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.recipe.sections import Evaluate

Photo = tuple[npt.NDArray[np.uint8], tuple[int, ...], npt.NDArray[np.float32]]
CLASSES = len(VOC_NAMES)


def one_pass_vs_passes(*, toy: bool = False) -> Row:
    """Compare both on eight photos of VOC's size with one to three tags, in memory."""
    photos = photos_of(2 if toy else 8, (24, 32) if toy else (375, 500))
    thresholds = Evaluate().thresholds
    return side_by_side(
        lambda: one_pass(photos, thresholds),
        lambda: passes(photos, thresholds),
        seconds=0 if toy else 40,
    )


def photos_of(count: int, size: tuple[int, int]) -> list[Photo]:
    """Return random (mask (h, w), tags, scores (k, h, w)) of photos."""
    rng = np.random.default_rng(0)
    photos = []
    for index in range(count):
        tags = tuple(sorted(rng.choice(CLASSES, 1 + index % 3, replace=False).tolist()))
        scores = rng.random((len(tags), *size), np.float32)
        truth = rng.choice(np.array([0, *(tag + 1 for tag in tags), 255], np.uint8), size)
        photos.append((truth, tags, scores))
    return photos


def one_pass(photos: list[Photo], thresholds: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return the mIoU by threshold, as `tag2mask` computes it."""
    curve = ThresholdCurve.empty(CLASSES, thresholds)
    for truth, tags, scores in photos:
        curve.add(truth, tags, scores)
    return curve.miou()


def passes(photos: list[Photo], thresholds: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return the same by the usual sweep, which labels every photo at every threshold."""
    return np.array([_miou(photos, threshold) for threshold in thresholds])


def _miou(photos: list[Photo], threshold: float) -> float:
    hits, truths, predictions = (np.zeros(CLASSES + 1, np.int64) for _ in range(3))
    for truth, tags, scores in photos:
        background = np.full((1, *truth.shape), threshold, np.float32)
        ids = np.array([0, *(tag + 1 for tag in tags)])
        labels = ids[np.concatenate([background, scores]).argmax(axis=0)]
        counted = truth < 255
        truth, labels = truth[counted], labels[counted]
        truths += np.bincount(truth, minlength=CLASSES + 1)
        predictions += np.bincount(labels, minlength=CLASSES + 1)
        hits += np.bincount(truth[truth == labels], minlength=CLASSES + 1)
    union = truths + predictions - hits
    return float(np.mean(hits[union > 0] / union[union > 0]))
