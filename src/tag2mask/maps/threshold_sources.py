"""Find a background threshold: calibrated on a few masks, or estimated from the maps.

Used by every step that needs a background (`tag2mask.steps.threshold_choice`). Only calibration
reads masks: those that were drawn or accepted in corrections, or else those of the data.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.corrections.folder import corrections_of
from tag2mask.data.index import Sample, read_index, read_mask_paths
from tag2mask.errors import DataError
from tag2mask.maps.background_threshold import (
    ScoreHistogram,
    estimate_background_threshold,
)
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map

CALIBRATION_THRESHOLDS = tuple(i / 100 for i in range(100))
CALIBRATION_SEED = 0
CALIBRATED_ON = "calibration_photos"
"""Key of the photos in the manifest."""
WALKED_THRESHOLD = 0.5
"""In maps after the walk, a class exceeds it exactly where it exceeds the background's map."""


@dataclass(frozen=True)
class BackgroundThreshold:
    """A background threshold and where it comes from.

    Attributes:
        threshold: in [0, 1]; a class must exceed it.
        source: how it was found; ``walk``: the background took part in the random walk.
        photos: ids of the photos whose masks calibrated it.
        miou: mIoU of the maps of these photos at this threshold, in [0, 1].
    """

    threshold: Annotated[float, Field(ge=0.0, le=1.0)]
    source: Literal["fixed", "calibrated", "estimated", "walk"]
    photos: tuple[str, ...] = ()
    miou: float | None = None

    def metrics(self) -> dict[str, Any]:
        """Return the entries for the manifest."""
        found: dict[str, Any] = {
            "background_threshold": self.threshold,
            "background_source": self.source,
        }
        if self.source == "calibrated":
            found |= {CALIBRATED_ON: list(self.photos), "calibration_miou": self.miou}
        return found


def estimated_threshold(
    photos: MappedPhotos, runtime: Runtime, *, section: str = "pseudo_masks"
) -> BackgroundThreshold:
    """Estimate the background threshold from the maps of the training photos, without masks.

    If no training photo has maps, the first split that has maps is used.

    Args:
        photos: photos with maps.
        runtime: where to run.
        section: section of the recipe whose settings an error names.

    Raises:
        DataError: there are no maps, or all scores are equal.
    """
    samples = photos.splits.get("train") or next(iter(photos.splits.values()))

    def histogram_of_rank() -> ScoreHistogram:
        histogram = ScoreHistogram.empty()
        # At the stored stride: interpolation would hardly change the histogram.
        for cam_map in ordered_map(photos.read, runtime.shard(samples)):
            histogram.add(cam_map.scores)
        return histogram

    total = ScoreHistogram.empty()
    for part in runtime.gather_results(histogram_of_rank):
        total.merge(part)
    return BackgroundThreshold(estimate_background_threshold(total, section=section), "estimated")


def calibrated_threshold(
    data: PreparedData, photos: MappedPhotos, count: int, runtime: Runtime
) -> BackgroundThreshold:
    """Find the background threshold with the highest mIoU on a few masked training photos.

    Args:
        data: the prepared data, with masks.
        photos: photos with maps.
        count: largest number of photos; they are drawn with a fixed seed.
        runtime: where to run.

    Raises:
        DataError: no training photo has a mask, or a mask can't be used.
    """
    chosen = drawn_masked_photos(data, photos, count)
    if not chosen:
        raise no_calibration_masks(data.path)

    def curve_of_rank() -> ThresholdCurve:
        curve = ThresholdCurve.empty(photos.classes, CALIBRATION_THRESHOLDS)
        for sample, mask in runtime.shard(chosen):
            cam_map = photos.read(sample)
            truth = photos.read_mask(mask, sample)
            curve.add(truth, cam_map.tags, cam_map.full_scores())
        return curve

    total = ThresholdCurve.empty(photos.classes, CALIBRATION_THRESHOLDS)
    for part in runtime.gather_results(curve_of_rank):
        total.merge(part)
    threshold, miou = total.best()
    if math.isnan(miou):
        raise DataError(
            "the background threshold can't be calibrated: the masks are void everywhere",
            where=chosen[0][1],
            fix="Give masks with class numbers.",
        )
    return BackgroundThreshold(threshold, "calibrated", tuple(s.id for s, _ in chosen), miou)


def no_calibration_masks(where: Path) -> DataError:
    """Return the error for a calibration without masks."""
    return DataError(
        "the background threshold can't be calibrated: no training photo has a mask",
        where=where,
        fix="Give masks of a few training photos, or set the step's `threshold_from` to "
        "estimated or fixed.",
    )


def drawn_masked_photos(
    data: PreparedData, photos: MappedPhotos, count: int
) -> list[tuple[Sample, Path]]:
    """Draw training photos that have maps and a mask.

    The seed is fixed, so that calibration and tuning read the same masks.

    Args:
        data: the prepared data.
        photos: photos with maps.
        count: largest number of photos.

    Returns:
        Photos with the paths of their masks, in the order of drawing; empty if no training photo
        has a mask.
    """
    masks = calibration_masks(data)
    masked = sorted(
        (s for s in photos.splits.get("train", []) if s.id in masks), key=lambda sample: sample.id
    )
    chosen = random.Random(CALIBRATION_SEED).sample(masked, min(count, len(masked)))
    return [(sample, masks[sample.id]) for sample in chosen]


def calibration_masks(data: PreparedData) -> dict[str, Path]:
    """Return the masks to calibrate on, by photo id.

    These are the masks of training photos that were drawn or accepted, where there are any, or else
    the masks of the data.
    """
    return corrected_masks(data) or read_mask_paths(data.path)


def corrected_masks(data: PreparedData) -> dict[str, Path]:
    """Return the masks of training photos that were drawn or accepted, by photo id."""
    masks = corrections_of(data.path).masks()
    train = read_index(data.path, "train") if masks else ()
    return {sample.id: masks[sample.id] for sample in train if sample.id in masks}
