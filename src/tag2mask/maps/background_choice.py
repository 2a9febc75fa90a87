"""Choose the background threshold: fixed, from a few masks, or from the maps alone.

Every step that sets foreground maps against a background needs one, and all find it here. Masks are
read for the calibration alone.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tag2mask.artifacts.files import read_json, write_json
from tag2mask.artifacts.handles import PreparedData, WalkedMaps
from tag2mask.data.index import Sample, read_mask_paths
from tag2mask.errors import DataError, RunFolderError
from tag2mask.maps.background import (
    ScoreHistogram,
    alpha_from_threshold,
    estimate_background_threshold,
)
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.recipe.sections import ThresholdChoice
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map

CALIBRATION_THRESHOLDS = tuple(i / 100 for i in range(100))
CALIBRATION_SEED = 0
BACKGROUND = "background.json"
WALKED_THRESHOLD = 0.5
"""In walked maps a class exceeds it exactly where it exceeds the walked background."""


@dataclass(frozen=True)
class BackgroundThreshold:
    """A background threshold and where it comes from.

    Attributes:
        threshold: in [0, 1]; a class must exceed it.
        source: how it was found; walk: the background took part in the random walk.
        photos: ids of the masked photos that it was calibrated on.
        miou: of these photos' maps at this threshold, in [0, 1].
    """

    threshold: float
    source: Literal["fixed", "calibrated", "estimated", "walk"]
    photos: tuple[str, ...] = ()
    miou: float | None = None

    def metrics(self) -> dict[str, Any]:
        """As the manifest says it."""
        found: dict[str, Any] = {
            "background_threshold": self.threshold,
            "background_source": self.source,
        }
        if self.source == "calibrated":
            found |= {"calibration_photos": list(self.photos), "calibration_miou": self.miou}
        return found


def choose_background_threshold(
    data: PreparedData, photos: MappedPhotos, section: ThresholdChoice, runtime: Runtime
) -> BackgroundThreshold:
    """Find the background threshold as a section says; every rank gets the same.

    Args:
        data: the prepared data; its masks are read for ``calibrated`` alone.
        photos: photos with maps.
        section: where the threshold comes from.
        runtime: where to run.

    Raises:
        DataError: no photo to calibrate on, or one whose mask can't be used; maps from which no
            threshold can be estimated; a map that is missing, damaged or of other photos.
    """
    if section.threshold_from == "auto" and photos.made_by == WalkedMaps.step:
        return BackgroundThreshold(WALKED_THRESHOLD, "walk")
    if section.threshold_from == "fixed":
        return BackgroundThreshold(section.background_threshold, "fixed")
    if section.threshold_from == "calibrated":
        return calibrated_threshold(data, photos, section.calibrate_photos, runtime)
    return estimated_threshold(photos, runtime, section=section.key)


def estimated_threshold(
    photos: MappedPhotos, runtime: Runtime, *, section: str = "pseudo_masks"
) -> BackgroundThreshold:
    """Estimate the background threshold from the training photos' maps alone.

    Where only other splits have maps, from those.

    Args:
        photos: photos with maps.
        runtime: where to run.
        section: of the recipe that asks for it, to name its settings.

    Raises:
        DataError: no map, or maps that hold one score only.
    """
    samples = photos.splits.get("train") or next(iter(photos.splits.values()))

    def own_share() -> ScoreHistogram:
        histogram = ScoreHistogram.empty()
        # At the stored stride: interpolation would hardly move the histogram.
        for cam_map in ordered_map(photos.read, runtime.shard(samples)):
            histogram.add(cam_map.scores)
        return histogram

    total = ScoreHistogram.empty()
    for part in runtime.gather_results(own_share):
        total.merge(part)
    return BackgroundThreshold(estimate_background_threshold(total, section=section), "estimated")


def calibrated_threshold(
    data: PreparedData, photos: MappedPhotos, count: int, runtime: Runtime
) -> BackgroundThreshold:
    """Find the background threshold that is best on a few masked training photos.

    Args:
        data: the prepared data, with masks.
        photos: photos with maps.
        count: how many photos to look at, at most; drawn with a fixed seed.
        runtime: where to run.

    Raises:
        DataError: no training photo has a mask, or a mask can't be used.
    """
    chosen = drawn_masked_photos(data, photos, count)
    if not chosen:
        raise DataError(
            "the background threshold can't be calibrated: no training photo has a mask",
            where=data.path,
            fix="Give masks of a few training photos, or set the step's `background` to estimated "
            "or fixed.",
        )

    def own_share() -> ThresholdCurve:
        curve = ThresholdCurve.empty(photos.classes, CALIBRATION_THRESHOLDS)
        for sample, mask in runtime.shard(chosen):
            cam_map = photos.read(sample)
            truth = photos.read_mask(mask, sample)
            curve.add(truth, cam_map.tags, cam_map.full_scores())
        return curve

    total = ThresholdCurve.empty(photos.classes, CALIBRATION_THRESHOLDS)
    for part in runtime.gather_results(own_share):
        total.merge(part)
    threshold, miou = total.best()
    if math.isnan(miou):
        raise DataError(
            "the background threshold can't be calibrated: the masks are void everywhere",
            where=chosen[0][1],
            fix="Give masks with class numbers.",
        )
    return BackgroundThreshold(threshold, "calibrated", tuple(s.id for s, _ in chosen), miou)


def drawn_masked_photos(
    data: PreparedData, photos: MappedPhotos, count: int
) -> list[tuple[Sample, Path]]:
    """Some training photos that have maps and a mask, with their masks' files.

    Args:
        data: the prepared data.
        photos: photos with maps.
        count: how many at most; drawn by a fixed seed, so that whoever looks at masks looks at the
            same ones.

    Returns:
        In the order of drawing; empty where no training photo has a mask.
    """
    masks = read_mask_paths(data.path)
    masked = sorted(
        (s for s in photos.splits.get("train", []) if s.id in masks), key=lambda sample: sample.id
    )
    chosen = random.Random(CALIBRATION_SEED).sample(masked, min(count, len(masked)))
    return [(sample, masks[sample.id]) for sample in chosen]


def kept_background_threshold(
    folder: Path,
    data: PreparedData,
    photos: MappedPhotos,
    section: ThresholdChoice,
    runtime: Runtime,
) -> BackgroundThreshold:
    """The background threshold of a step's folder: found once, then kept in ``background.json``.

    A threshold that follows every photo that is added would make all earlier ones be done again.

    Raises:
        DataError: as `choose_background_threshold`.
        RunFolderError: the file is damaged, or can't be written.
    """
    path = folder / BACKGROUND
    kept = runtime.gather_results(lambda: read_json(path) if path.is_file() else None)[0]
    if kept is not None:
        try:
            return BackgroundThreshold(**kept | {"photos": tuple(kept["photos"])})
        except (TypeError, KeyError):
            raise RunFolderError(
                "not a background threshold of tag2mask",
                where=path,
                fix="Delete the file: the threshold is then found again.",
            ) from None
    found = choose_background_threshold(data, photos, section, runtime)
    if runtime.rank == 0:
        write_json(path, asdict(found))
    return found


def derived_alpha(threshold: float) -> float:
    """α of the background (1 - max)^α that ties with a class at this threshold.

    Args:
        threshold: in [0, 1]; α has no value at its ends, which count as 0.01 and 0.99.
    """
    return alpha_from_threshold(min(max(threshold, 0.01), 0.99))
