"""Honest scores of photos whose masks chose the background threshold.

The threshold that is best for some photos flatters the scores on these photos. So they are halved,
and each half is scored at the threshold that is best for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tag2mask.data.index import Sample, group_of
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.maps.threshold_sources import CALIBRATION_THRESHOLDS
from tag2mask.metrics.confusion import Int64
from tag2mask.metrics.threshold_curve import ThresholdCurve


class CrossFit(NamedTuple):
    """Photos, each counted at the threshold that other photos chose.

    Attributes:
        thresholds: the thresholds that the two halves chose.
        cells: the nonzero counts of each photo (see `Confusion.cells`), by id.
    """

    thresholds: tuple[float, float]
    cells: dict[str, Int64]


def cross_fit(
    photos: MappedPhotos, samples: Sequence[Sample], truths: Mapping[str, Path]
) -> CrossFit | None:
    """Count each photo at the best threshold of the half that it isn't in.

    Photos of one group are in the same half. Which half that is depends on the groups' names alone.

    Args:
        photos: photos with maps.
        samples: those to count.
        truths: their masks, by id.

    Returns:
        None if there are fewer than two groups, or if a half has no pixel that isn't void.

    Raises:
        DataError: a map or mask can't be read.
    """
    order = sorted({group_of(sample) for sample in samples}, key=_number)
    first = set(order[::2])
    halves = [
        [sample for sample in samples if (group_of(sample) in first) == is_first]
        for is_first in (True, False)
    ]
    counted = {}
    curves = []
    for half in halves:
        curves.append(ThresholdCurve.empty(photos.classes, CALIBRATION_THRESHOLDS))
        for sample in half:
            cam_map, truth = photos.read(sample), photos.read_mask(truths[sample.id], sample)
            counted[sample.id] = curves[-1].count(truth, cam_map.tags, cam_map.full_scores())
            curves[-1].add_photo(counted[sample.id])
    (one, one_miou), (other, other_miou) = (curve.best() for curve in curves)
    if np.isnan(one_miou) or np.isnan(other_miou):
        return None
    cells = {
        sample.id: counted[sample.id].cells(curves[0].index(threshold))
        for half, threshold in zip(halves, (other, one), strict=True)
        for sample in half
    }
    return CrossFit((one, other), cells)


def _number(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()
