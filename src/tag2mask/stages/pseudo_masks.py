"""Step ``pseudo-masks``: maps to palette PNGs, by argmax with one background score.

Reads maps, and masks only where the background score is to be calibrated with some. Writes
``masks/<id>.png``, resumable per photo and sharded over ranks. A photo's mask is made anew only
when its map or the background score changed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tag2mask.artifacts import CamMaps, PreparedData, PseudoMaskFolder, Step, step_folder
from tag2mask.data.mapped import MappedPhotos, mapped_photos
from tag2mask.data.masks import write_mask
from tag2mask.data.samples import Sample, masks_fingerprint, read_classes, read_masks
from tag2mask.errors import DataError
from tag2mask.ops.curve import ThresholdCurve
from tag2mask.ops.parallel import ordered_map
from tag2mask.ops.thresholds import (
    ScoreHistogram,
    estimate_background_score,
    labels_from_scores,
)
from tag2mask.runtime import Runtime
from tag2mask.sections import PseudoMasks

CALIBRATION_SCORES = tuple(i / 100 for i in range(100))
CALIBRATION_SEED = 0


@dataclass(frozen=True)
class BackgroundScore:
    """A background score and where it comes from.

    Attributes:
        score: in [0, 1]; a class must exceed it.
        source: how it was found.
        photos: ids of the masked photos that it was calibrated on.
        miou: of these photos' maps at this score, in [0, 1].
    """

    score: float
    source: Literal["fixed", "calibrated", "estimated"]
    photos: tuple[str, ...] = ()
    miou: float | None = None

    def metrics(self) -> dict[str, Any]:
        """As the manifest says it."""
        found: dict[str, Any] = {"background_score": self.score, "background_source": self.source}
        if self.source == "calibrated":
            found |= {"calibration_photos": list(self.photos), "calibration_miou": self.miou}
        return found


def pseudo_masks(data: PreparedData, maps: CamMaps, section: PseudoMasks, out: Path,
                 runtime: Runtime) -> PseudoMaskFolder:
    """Make the pseudo mask of every photo that has maps.

    Args:
        data: photos and classes.
        maps: maps of these photos.
        section: settings.
        out: folder to write; masks whose map and background score are unchanged are kept, even in a
            complete folder only those are made whose file is lost.
        runtime: where to run.

    Raises:
        DataError: maps missing, damaged or of other photos; no photo to calibrate on; maps from
            which no background score can be estimated.
        RunFolderError: ``out`` was made with other maps or other settings, or can't be written.
    """
    coverage: dict[str, PreparedData | CamMaps | str] = {"data": data, "maps": maps}
    if section.background == "calibrated":
        coverage["ground truth"] = masks_fingerprint(data.path)
    with step_folder(PseudoMaskFolder, out, section=section, coverage=coverage,
                     rank=runtime.rank) as step:
        if step.complete and all(_mask_path(step, item).is_file() for item in step.items()):
            return step.handle
        photos = mapped_photos(data, maps, len(read_classes(data.path)))
        background = choose_background_score(data, photos, section, runtime)
        samples = list({s.id: s for split in photos.splits.values() for s in split}.values())
        step.drop_vanished({sample.id for sample in samples}, partial(_mask_path, step))
        runtime.barrier()
        made = runtime.together(
            lambda: _write_masks(data, photos, samples, background.score, step, runtime))
        counts = {"photos": len(samples), "computed": sum(made)}
        handle = step.finish(counts=counts, metrics=background.metrics(), skipped=photos.skipped)
        runtime.barrier()
        return handle


def choose_background_score(data: PreparedData, photos: MappedPhotos, section: PseudoMasks,
                            runtime: Runtime) -> BackgroundScore:
    """Find the background score as the section says; every rank gets the same.

    Raises:
        DataError: as `pseudo_masks`.
    """
    if section.background == "fixed":
        return BackgroundScore(section.score, "fixed")
    if section.background == "calibrated":
        return calibrated_score(data, photos, section.calibrate_photos, runtime)
    return estimated_score(photos, runtime)


def estimated_score(photos: MappedPhotos, runtime: Runtime) -> BackgroundScore:
    """Estimate the background score from the training photos' maps alone.

    Where only other splits have maps, from those.

    Raises:
        DataError: no map, or maps of one score only.
    """
    samples = photos.splits.get("train") or next(iter(photos.splits.values()))

    def own_share() -> ScoreHistogram:
        histogram = ScoreHistogram.empty()
        # At the stored stride: interpolation would hardly move the histogram.
        for cam_map in ordered_map(photos.read, runtime.shard(samples)):
            histogram.add(cam_map.scores)
        return histogram

    total = ScoreHistogram.empty()
    for part in runtime.together(own_share):
        total.merge(part)
    return BackgroundScore(estimate_background_score(total), "estimated")


def calibrated_score(data: PreparedData, photos: MappedPhotos, count: int,
                     runtime: Runtime) -> BackgroundScore:
    """Find the background score that is best on a few masked training photos.

    Args:
        data: the prepared data, with masks.
        photos: photos with maps.
        count: how many photos to look at, at most; drawn with a fixed seed.
        runtime: where to run.

    Raises:
        DataError: no training photo has a mask, or a mask can't be used.
    """
    masks = read_masks(data.path)
    masked = sorted((s for s in photos.splits.get("train", []) if s.id in masks),
                    key=lambda sample: sample.id)
    if not masked:
        raise DataError(
            "the background score can't be calibrated: no training photo has a mask",
            where=data.path,
            fix="Give masks of a few training photos, or set pseudo_masks.background to estimated "
                "or fixed.",
        )
    chosen = random.Random(CALIBRATION_SEED).sample(masked, min(count, len(masked)))

    def own_share() -> ThresholdCurve:
        curve = ThresholdCurve.empty(photos.classes, CALIBRATION_SCORES)
        for sample in runtime.shard(chosen):
            cam_map = photos.read(sample)
            truth = photos.read_mask(masks[sample.id], sample)
            curve.add(truth, cam_map.tags, cam_map.full_scores())
        return curve

    total = ThresholdCurve.empty(photos.classes, CALIBRATION_SCORES)
    for part in runtime.together(own_share):
        total.merge(part)
    score, miou = total.best()
    if math.isnan(miou):
        raise DataError("the background score can't be calibrated: the masks are void everywhere",
                        where=masks[chosen[0].id], fix="Give masks with class numbers.")
    return BackgroundScore(score, "calibrated", tuple(s.id for s in chosen), miou)


def _write_masks(data: PreparedData, photos: MappedPhotos, samples: list[Sample], score: float,
                 step: Step[PseudoMaskFolder], runtime: Runtime) -> int:
    """Write this rank's masks that are not there yet; returns how many."""
    colours = read_classes(data.path).colours

    def key(sample: Sample) -> str:
        return f"{score:g} {photos.stamp(sample.id)}"

    def make(sample: Sample) -> tuple[Sample, str]:
        made_from = key(sample)
        cam_map = photos.read(sample)
        labels = labels_from_scores(cam_map.full_scores(), cam_map.tags, score, sample.size)
        path = _mask_path(step, sample.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, labels, colours)
        return sample, made_from

    due = [sample for sample in runtime.shard(samples) if step.item_key(sample.id) != key(sample)
           or not _mask_path(step, sample.id).is_file()]
    with runtime.progress(len(due), "pseudo-masks") as bar:
        for sample, made_from in ordered_map(make, due):
            step.record_item(sample.id, made_from)
            bar.advance()
    return len(due)


def _mask_path(step: Step[PseudoMaskFolder], photo_id: str) -> Path:
    return step.path / "masks" / f"{photo_id}.png"
