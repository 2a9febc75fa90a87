"""Resampled mIoU of a trial, at the background thresholds in use and at the best ones.

An evaluation keeps the counts of its photos at the thresholds in use. Those at the best thresholds
are counted again from the maps, which takes seconds to a minute, once for each evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tag2mask.ablation.scores import Resampled
from tag2mask.artifacts.handles import (
    AnyMaps,
    CamMaps,
    Evaluation,
    Handle,
    PreparedData,
    WalkedMaps,
)
from tag2mask.artifacts.items import checked_id
from tag2mask.data.index import Sample, group_of, read_mask_paths
from tag2mask.errors import Tag2MaskError
from tag2mask.evaluation.photo_rows import read_photo_rows
from tag2mask.evaluation.records import PHOTOS, EvaluationScores, read_scores
from tag2mask.evaluation.resampled import ResampledMiou, read_resampled
from tag2mask.files.json_file import read_json, write_json
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.confusion import Float64, Int64
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import ordered_map


def trial_resampled(folders: Mapping[type[Handle], Path], kept: Path) -> Resampled:
    """Return the resampled mIoU of a finished trial.

    Args:
        folders: the folders of its steps.
        kept: file for the values at the best thresholds, which are computed once.

    Raises:
        RunFolderError: ``photos.jsonl`` is missing or damaged.
        DataError: a map or mask is missing or damaged.
    """
    evaluation = Evaluation.open(folders[Evaluation])
    scores = read_scores(evaluation)
    used = read_resampled(evaluation.path / PHOTOS, scores)
    best = _read_kept(kept, evaluation.fingerprint)
    if best is None:
        best = _resampled_at_best(folders, scores)
        _keep(kept, evaluation.fingerprint, best)
    return Resampled(used, best)


def _resampled_at_best(
    folders: Mapping[type[Handle], Path], scores: EvaluationScores
) -> ResampledMiou:
    """Return the resampled mIoU of each split and stage of maps at its best threshold."""
    prepared = PreparedData.open(folders[PreparedData])
    kinds: tuple[type[AnyMaps], ...] = (CamMaps, WalkedMaps)
    maps = [mapped_photos(prepared, kind.open(folders[kind])) for kind in kinds if kind in folders]
    truths, scored = read_mask_paths(prepared.path), _scored_photos(folders[Evaluation])
    found: dict[tuple[str, str], Float64] = {}
    for split in scores.splits:
        stages = [stage for stage in split.stages if stage.curve is not None]
        for stage, photos in zip(stages, maps, strict=bool(stages)):
            if stage.best is None or stage.best.background_threshold is None:
                continue
            samples = [
                sample
                for own, members in photos.splits.items()
                for sample in members
                if own == split.split and sample.id in scored
            ]
            threshold = stage.best.background_threshold
            tallies = _tallies(photos, samples, truths, threshold, stage.name)
            miou = tallies.miou(published=scores.behavior == "published")
            found[split.split, stage.name] = miou
    return found


def _tallies(
    photos: MappedPhotos,
    samples: list[Sample],
    truths: Mapping[str, Path],
    threshold: float,
    name: str,
) -> ResampledTallies:
    curve = ThresholdCurve.empty(photos.classes, [threshold])

    def cells(sample: Sample) -> Int64:
        truth, own = photos.read_mask(truths[sample.id], sample), photos.read(sample)
        return curve.count(truth, own.tags, own.full_scores()).cells(0)

    tallies = ResampledTallies(photos.classes)
    with ProgressBar(len(samples), f"{name} at the best threshold", only_if_long=True) as bar:
        for sample, counts in zip(samples, ordered_map(cells, samples), strict=True):
            tallies.add(group_of(sample), counts)
            bar.advance()
    return tallies


def _scored_photos(evaluation: Path) -> set[str]:
    """Return the ids of the photos that an evaluation compared with their masks."""
    rows = read_photo_rows(
        evaluation / PHOTOS, lambda row: (checked_id(row["id"]), row.get("counts"))
    )
    return {id for id, counts in rows if counts}


def _keep(path: Path, fingerprint: str, values: ResampledMiou) -> None:
    rows = [[split, stage, miou.tolist()] for (split, stage), miou in values.items()]
    write_json(path, {"evaluation": fingerprint, "miou": rows})


def _read_kept(path: Path, fingerprint: str) -> ResampledMiou | None:
    """Return the values in a file; None: it is missing, damaged, or of another evaluation."""
    try:
        values = read_json(path)
        if values["evaluation"] != fingerprint:
            return None
        return {
            (str(split), str(stage)): np.array(miou, np.float64)  # null becomes NaN
            for split, stage, miou in values["miou"]
        }
    except (Tag2MaskError, KeyError, TypeError, ValueError):
        return None
