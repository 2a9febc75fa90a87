"""Step ``evaluate``: how good maps, pseudo masks and tags are.

One pass over the photos. The only step, beside the calibration of the background score, that reads
masks; where there are none it still scores the tag classifier, lists tags in doubt and says how
certain each photo's maps are. Writes ``evaluation.json``, ``photos.jsonl``, ``table.md`` and, with
masks, ``curve.png``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tag2mask.artifacts import (
    AnyMaps,
    Evaluation,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    atomic_write,
    read_json,
    step_folder,
    write_json,
    write_text,
)
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet
from tag2mask.data.mapped import MappedPhotos, mapped_photos
from tag2mask.data.maps import CamMap
from tag2mask.data.samples import Sample, masks_fingerprint, read_classes, read_masks
from tag2mask.errors import DataError
from tag2mask.ops.boundary import BoundaryCounts
from tag2mask.ops.curve import ThresholdCurve
from tag2mask.ops.evaluation import (
    EvaluationScores,
    SplitScores,
    curve_scores,
    doubt_records,
    mask_scores,
    scores_from_json,
    tag_scores,
)
from tag2mask.ops.evaluation_table import format_scores
from tag2mask.ops.metrics import Confusion
from tag2mask.ops.parallel import ordered_map
from tag2mask.ops.tag_metrics import doubtful_tags, tag_quality
from tag2mask.report.curve_plot import draw_curve
from tag2mask.runtime import Runtime
from tag2mask.sections import Evaluate

SCORES = "evaluation.json"
PHOTOS = "photos.jsonl"
TABLE = "table.md"
CURVE = "curve.png"


def evaluate(data: PreparedData, maps: AnyMaps, masks: PseudoMaskFolder, section: Evaluate,
             out: Path, runtime: Runtime) -> Evaluation:
    """Score maps and pseudo masks against masks, and tag probabilities against tags.

    Args:
        data: photos, tags, and masks where there are any.
        maps: their maps.
        masks: their pseudo masks.
        section: settings.
        out: folder to write.
        runtime: where to run.

    Raises:
        DataError: a mask that is colour-coded, of another size than its photo, or with values
            outside the class list; a map or pseudo mask that is missing or damaged.
        RunFolderError: ``out`` was made with other settings, or can't be written.
    """
    coverage: dict[str, Handle | str] = {
        "data": data, "maps": maps, "masks": masks,
        "ground truth": masks_fingerprint(data.path),
    }
    with step_folder(Evaluation, out, section=section, coverage=coverage,
                     rank=runtime.rank) as step:
        if step.complete:
            return step.handle
        classes = read_classes(data.path)
        photos = mapped_photos(data, maps, len(classes))
        job = _Job(photos, classes, read_masks(data.path), masks.path / "masks", section)
        splits, rows = [], []
        for split, samples in photos.splits.items():
            total = _evaluate_split(job, split, samples, runtime)
            rows += total.rows
            splits.append(_split_scores(total, split, samples, classes, maps, masks, section))
        scores = EvaluationScores(classes.mask_names, section.behaviour, tuple(splits))
        if runtime.rank == 0:
            _write(step.path, scores, rows)
        handle = step.finish(counts={split.split: split.photos for split in splits},
                             metrics=_headline(scores), skipped=photos.skipped)
        runtime.barrier()
        return handle


def read_scores(evaluation: Evaluation) -> EvaluationScores:
    """Read ``evaluation.json``.

    Raises:
        RunFolderError: missing or damaged.
    """
    path = evaluation.path / SCORES
    return scores_from_json(read_json(path), where=str(path))


def format_table(evaluation: Evaluation) -> str:
    """The numbers as Markdown tables, readable in a terminal.

    Raises:
        RunFolderError: ``evaluation.json`` is missing or damaged.
    """
    return format_scores(read_scores(evaluation))


@dataclass(frozen=True)
class _Job:
    """What every photo is evaluated with."""

    photos: MappedPhotos
    classes: ClassSet
    truths: dict[str, Path]
    masks: Path
    section: Evaluate


@dataclass
class _Found:
    """What one photo says; the maps at full size are dropped once counted."""

    row: dict[str, Any]
    probabilities: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8] | None = None
    tags: tuple[int, ...] = ()
    scores: npt.NDArray[np.float32] | None = None
    confusion: Confusion | None = None
    boundary: BoundaryCounts | None = None


@dataclass
class _Total:
    """Sums over a split's photos, and what is kept of each."""

    rows: list[dict[str, Any]]
    probabilities: list[npt.NDArray[np.float32]]
    masked: int
    confusion: Confusion
    boundary: BoundaryCounts
    curve: ThresholdCurve

    @classmethod
    def empty(cls, classes: int, section: Evaluate) -> _Total:
        return cls([], [], 0, Confusion.empty(classes), BoundaryCounts.empty(classes),
                   ThresholdCurve.empty(classes, section.thresholds))

    def add(self, found: _Found) -> None:
        self.rows.append(found.row)
        self.probabilities.append(found.probabilities)
        if found.truth is not None:
            assert found.confusion is not None and found.boundary is not None
            assert found.scores is not None
            self.masked += 1
            self.confusion.merge(found.confusion)
            self.boundary.merge(found.boundary)
            self.curve.add(found.truth, found.tags, found.scores)


def _evaluate_split(job: _Job, split: str, samples: list[Sample], runtime: Runtime) -> _Total:
    """Evaluate a split's photos, each rank its share; every rank gets the sums of all."""
    def own_share() -> _Total:
        total = _Total.empty(len(job.classes), job.section)
        mine = runtime.shard(samples)
        with runtime.progress(len(mine), f"evaluate {split}") as bar:
            for found in ordered_map(lambda sample: _evaluate_photo(job, split, sample), mine):
                total.add(found)
                bar.advance()
        return total

    parts = runtime.together(own_share)
    if len(parts) == 1:
        return parts[0]
    merged = _Total.empty(len(job.classes), job.section)
    merged.rows = _interleaved([part.rows for part in parts])
    merged.probabilities = _interleaved([part.probabilities for part in parts])
    for part in parts:
        merged.masked += part.masked
        merged.confusion.merge(part.confusion)
        merged.boundary.merge(part.boundary)
        merged.curve.merge(part.curve)
    return merged


def _evaluate_photo(job: _Job, split: str, sample: Sample) -> _Found:
    cam_map = job.photos.read(sample)
    names = job.classes.names
    row: dict[str, Any] = {
        "id": sample.id, "split": split,
        "tags": [names[tag] for tag in sample.tags],
        "map_tags": [names[tag] for tag in cam_map.tags],
        "certainty": cam_map.certainty, "miou": None, "pixel_accuracy": None,
    }  # fmt: skip
    found = _Found(row, cam_map.probabilities)
    if sample.id in job.truths:
        _compare(found, job, sample, cam_map)
    return found


def _compare(found: _Found, job: _Job, sample: Sample, cam_map: CamMap) -> None:
    """Count a photo's pseudo mask against its mask."""
    pseudo_path = job.masks / f"{sample.id}.png"
    if not pseudo_path.is_file():
        raise DataError(f"photo {sample.id!r} has no pseudo mask", where=job.masks,
                        fix="Run pseudo-masks again: it makes only what is missing.")
    truth = job.photos.read_mask(job.truths[sample.id], sample)
    prediction = job.photos.read_mask(pseudo_path, sample)
    found.truth, found.tags, found.scores = truth, cam_map.tags, cam_map.full_scores()
    # What a mask leaves open (255) is counted as void; for the contours, it has none of its own.
    unsure = prediction == IGNORE
    prediction = np.where(unsure, np.where(truth == IGNORE, BACKGROUND, truth), prediction)
    truth = np.where(unsure, np.uint8(IGNORE), truth)
    found.confusion = Confusion.empty(len(job.classes))
    found.confusion.add(truth, prediction)
    found.boundary = BoundaryCounts.empty(len(job.classes))
    found.boundary.add(truth, prediction, job.section.boundary_share)
    # Of one photo: over the classes that occur in it, whatever the behaviour.
    found.row |= {"miou": found.confusion.miou(),
                  "pixel_accuracy": found.confusion.pixel_accuracy()}


def _split_scores(total: _Total, split: str, samples: list[Sample], classes: ClassSet,
                  maps: AnyMaps, masks: PseudoMaskFolder, section: Evaluate) -> SplitScores:
    paper = section.behaviour == "paper"
    known = np.zeros((len(samples), len(classes)), np.bool_)
    for row, sample in enumerate(samples):
        known[row, list(sample.tags)] = True
    probabilities = np.stack(total.probabilities)
    tagged = bool(known.any())
    score = masks.manifest.metrics.get("background_score")
    return SplitScores(
        split=split,
        photos=len(samples),
        tag_source=str(maps.manifest.metrics.get("tags", "known")),
        background_score=None if score is None else float(score),
        background_source=str(masks.manifest.metrics.get("background_source", "unknown")),
        certainty=float(np.mean([row["certainty"] for row in total.rows])),
        masks=mask_scores(total.confusion, total.boundary, total.masked, classes.mask_names,
                          paper=paper) if total.masked else None,
        curve=curve_scores(total.curve, paper=paper) if total.masked else None,
        tags=tag_scores(tag_quality(probabilities, known), len(samples), classes.names)
        if tagged else None,
        doubtful_tags=doubt_records(doubtful_tags(probabilities, known),
                                    [sample.id for sample in samples], classes.names)
        if tagged else (),
    )  # fmt: skip


def _write(folder: Path, scores: EvaluationScores, rows: Sequence[dict[str, Any]]) -> None:
    write_json(folder / SCORES, asdict(scores))
    lines = (json.dumps(_without_nan(row), ensure_ascii=False) for row in rows)
    write_text(folder / PHOTOS, "".join(f"{line}\n" for line in lines))
    write_text(folder / TABLE, format_scores(scores))
    if any(split.curve for split in scores.splits):
        with atomic_write(folder / CURVE) as temporary:
            draw_curve(temporary, scores)
    else:
        (folder / CURVE).unlink(missing_ok=True)


def _headline(scores: EvaluationScores) -> dict[str, Any]:
    """What the manifest says of each split."""
    found: dict[str, Any] = {}
    for split in scores.splits:
        found[split.split] = {
            "miou": split.masks and split.masks.miou,
            "best_miou": split.curve and split.curve.best_miou,
            "best_background_score": split.curve and split.curve.best_threshold,
            "tag_map": split.tags and split.tags.mean_average_precision,
            "certainty": split.certainty,
        }
    return found


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and np.isnan(value) else value
            for key, value in row.items()}


T = TypeVar("T")


def _interleaved(parts: list[list[T]]) -> list[T]:
    """Undo ``Runtime.shard``: parts[r] holds the items r, r + n, ..."""
    merged: list[T] = [item for part in parts for item in part]
    for rank, part in enumerate(parts):
        merged[rank :: len(parts)] = part
    return merged
