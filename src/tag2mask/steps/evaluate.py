"""Step ``evaluate``: scores of maps, pseudo masks and tags, and the gain of each stage.

Without maps, as of imported masks, only masks and the network are scored.

One pass over the photos. Without masks it still scores the tag classifier, lists doubtful tags,
compares the network's masks with the tags and gives each photo quality scores. Writes
``evaluation.json``, ``photos.jsonl``, ``doubtful_tags.csv``, ``table.md`` and, with masks,
``curve.png``; with ``crf.enabled``, also dense CRF masks of the maps, in ``crf/``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tag2mask.artifacts.handles import (
    MASKS_MADE_BY,
    AnyMaps,
    CamMaps,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    made_by,
)
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.folder import CORRECTIONS, Corrections, corrections_of
from tag2mask.data.index import (
    Sample,
    masks_fingerprint,
    read_classes,
    read_mask_paths,
)
from tag2mask.data.masks import CRF_MASKS
from tag2mask.errors import DataError
from tag2mask.evaluation.comparison import Comparison, Stage
from tag2mask.evaluation.counts import SplitCounts
from tag2mask.evaluation.evidence import photo_qualities
from tag2mask.evaluation.left_out import left_out_ids
from tag2mask.evaluation.photo_rows import PhotoRows
from tag2mask.evaluation.records import PHOTOS, SCORES, EvaluationScores
from tag2mask.evaluation.records import read_scores as read_scores
from tag2mask.evaluation.split_scores import split_scores
from tag2mask.evaluation.stages import map_stages, refined_by_crf, segmenter_stage, with_crf
from tag2mask.evaluation.tables import format_scores
from tag2mask.files.atomic import atomic_write, write_text
from tag2mask.files.json_file import write_json
from tag2mask.maps.mapped_photos import (
    MappedPhotos,
    PreparedPhotos,
    check_classes,
    mapped_photos,
    prepared_photos,
)
from tag2mask.maps.threshold_sources import CALIBRATED_ON
from tag2mask.recipe.sections import Evaluate
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map
from tag2mask.steps.photo_loops.per_photo import check_masks_as_written, prepared_ids
from tag2mask.text.csv_text import csv_text

TABLE = "table.md"
CURVE = "curve.png"
DOUBTFUL_TAGS = "doubtful_tags.csv"


def evaluate(
    data: PreparedData,
    maps: AnyMaps | None,
    masks: PseudoMaskFolder,
    section: Evaluate,
    out: Path,
    runtime: Runtime,
    earlier: Sequence[AnyMaps] = (),
    predictions: Predictions | None = None,
) -> Evaluation:
    """Score maps and pseudo masks against ground truth, and tag probabilities against tags.

    Args:
        data: photos, tags and, if available, ground truth masks.
        maps: the maps that the pseudo masks were made from; None: none are known, then photos may
            lack a pseudo mask.
        masks: the pseudo masks.
        section: settings.
        out: folder to write; with the dense CRF, an interrupted evaluation resumes.
        runtime: where to run.
        earlier: maps of the same photos from before the walk, scored as further stages.
        predictions: the segmentation network's masks of these photos, scored as the last stage.

    Raises:
        DataError: a mask that is color-coded, of another size than its photo, or with values
            outside the class list; a map or pseudo mask that is missing or damaged; ids to leave
            out that can't be read or aren't in the data; predictions of other classes; with the
            dense CRF, a photo that can't be read, or no maps from before the walk; pseudo masks
            that were replaced since their step wrote them.
        RunFolderError: ``out`` was made with other settings, or can't be written.
    """
    corrections = corrections_of(data.path)
    left_out = _left_out(data, section)
    if not section.use_drawn:
        left_out |= _sure_photos(data, corrections)
    if predictions is not None:
        check_classes(predictions, read_classes(data.path).names, "predictions")
    coverage: dict[str, Handle | str] = {
        "data": data,
        **({} if maps is None else {"maps": maps}),
        "masks": masks,
        "ground truth": masks_fingerprint(data.path),
        **({} if predictions is None else {"predictions": predictions}),
        **{
            f"earlier maps {number}" if number > 1 else "earlier maps": handle
            for number, handle in enumerate(earlier, 1)
        },
    }
    if section.use_drawn and corrections.decisions:
        coverage[CORRECTIONS] = corrections.label_fingerprint()
    if left_out:
        ids = "\n".join(sorted(left_out))
        coverage["left out"] = hashlib.sha256(ids.encode()).hexdigest()
    with step_folder(
        Evaluation, out, section=section, coverage=coverage, rank=runtime.rank
    ) as step:
        if step.complete:
            return step.handle
        check_masks_as_written(masks, runtime)
        classes = read_classes(data.path)
        found = _find_photos(data, maps, masks, predictions)
        photos = found.without(left_out)
        stages: tuple[Stage, ...] = ()
        if maps is not None and isinstance(photos, MappedPhotos):
            stages = map_stages(data, maps, photos, masks, earlier, runtime)
        truths = read_mask_paths(data.path)
        if section.use_drawn:
            truths = corrections.masks_of(corrections.ids("corrected")) | truths
        if section.crf.enabled and truths and maps is not None:
            stages = _with_crf_masks(stages, masks, photos, truths, classes, section, step, runtime)
        calibrated = frozenset(masks.manifest.metrics.get(CALIBRATED_ON, ()))
        every = Comparison(
            photos, classes, truths, masks.path / "masks", section, stages, calibrated
        )
        splits, quality = [], []
        with PhotoRows(step.path / PHOTOS, runtime.rank, runtime.world_size) as rows:
            for split, samples in photos.splits.items():
                job = every
                if predictions is not None and split in _predicted_splits(predictions):
                    job = replace(every, stages=(*stages, segmenter_stage(predictions)))
                counts = _count_split(job, split, samples, rows, runtime)
                quality.append(photo_qualities(counts.evidence))
                scored = split_scores(job, counts, split, samples, maps, masks)
                splits.append(replace(scored, left_out=len(found.splits[split]) - len(samples)))
            if runtime.rank == 0:
                rows.write(quality)
        scores = EvaluationScores(
            classes.mask_names,
            section.behavior,
            tuple(splits),
            None if maps is not None else made_by(masks),
        )
        if runtime.rank == 0:
            _write(step.path, scores)
        handle = step.finish(
            counts={split.split: split.photos for split in splits}
            | ({"left_out": gone} if (gone := sum(split.left_out for split in splits)) else {}),
            metrics={**_headline(scores), **_without_maps(scores, section)},
            skipped=photos.skipped,
        )
        runtime.barrier()
        return handle


def _find_photos(
    data: PreparedData,
    maps: AnyMaps | None,
    masks: PseudoMaskFolder,
    predictions: Predictions | None,
) -> PreparedPhotos:
    """Return the photos that have maps; without maps, those that the network didn't skip."""
    if maps is not None:
        return mapped_photos(data, maps)
    check_classes(masks, read_classes(data.path).names, "masks")
    return prepared_photos(data, () if predictions is None else predictions.manifest.skipped)


def format_table(evaluation: Evaluation) -> str:
    """Return the scores as Markdown tables, readable in a terminal.

    Raises:
        RunFolderError: ``evaluation.json`` is missing or damaged.
    """
    return format_scores(read_scores(evaluation))


def _predicted_splits(predictions: Predictions) -> Sequence[str]:
    """Return the splits that were predicted; none for photos without a split."""
    return tuple(predictions.manifest.section.get("splits", ()))


def _left_out(data: PreparedData, section: Evaluate) -> frozenset[str]:
    """Return the ids of the photos to leave out of all scores."""
    if section.leave_out is None:
        return frozenset()
    return left_out_ids(section.leave_out, lambda: prepared_ids(data))


def _sure_photos(data: PreparedData, corrections: Corrections) -> frozenset[str]:
    """Return the photos of the data whose masks were drawn or accepted."""
    sure = set(corrections.sure)
    return frozenset(sure & prepared_ids(data)) if sure else frozenset()


def _with_crf_masks(
    stages: tuple[Stage, ...],
    masks: PseudoMaskFolder,
    photos: PreparedPhotos,
    truths: dict[str, Path],
    classes: ClassSet,
    section: Evaluate,
    step: Step[Evaluation],
    runtime: Runtime,
) -> tuple[Stage, ...]:
    """Insert the stage of the dense CRF after the last maps from before the walk."""
    before = [stage for stage in stages if _from_before_the_walk(stage)]
    if not before:
        raise DataError(
            "the maps are walked ones; evaluate.crf sharpens those from before the walk",
            where=photos.folder,
            fix="Give the folder of infer-cam too, as --earlier.",
        )
    base = before[-1]
    if base is stages[-1] and refined_by_crf(masks):
        return stages  # the pseudo masks already are this stage
    assert isinstance(base.content, MappedPhotos) and base.threshold is not None
    # Here, as Numba is needed only for a CRF.
    from tag2mask.crf.dense_crf import CrfSettings
    from tag2mask.steps.photo_loops.crf_masks import CrfMasks

    settings = CrfSettings(**section.crf.numbers())
    masked = [sample for sample in photos.samples if sample.id in truths]
    CrfMasks(base.content, classes.colors, settings, base.threshold).make(step, masked, runtime)
    place = stages.index(base) + 1
    added = replace(base, name=with_crf(base.name), content=step.path / CRF_MASKS)
    return (*stages[:place], added, *stages[place:])


def _from_before_the_walk(stage: Stage) -> bool:
    return isinstance(stage.content, MappedPhotos) and stage.content.made_by == CamMaps.step


def _count_split(
    job: Comparison, split: str, samples: list[Sample], rows: PhotoRows, runtime: Runtime
) -> SplitCounts:
    """Count a split's photos, sharded by rank; every rank gets the sums over all ranks."""

    def own_share() -> SplitCounts:
        total = job.empty_counts()
        mine = runtime.shard(samples)
        with runtime.progress(len(mine), f"evaluate {split}") as bar:
            for found in ordered_map(lambda sample: job.photo(split, sample), mine):
                rows.add(total.add(found))
                bar.advance()
        rows.flush()
        return total

    parts = runtime.gather_results(own_share)
    return parts[0] if len(parts) == 1 else job.empty_counts().merge_ranks(parts)


def _write(folder: Path, scores: EvaluationScores) -> None:
    write_json(folder / SCORES, asdict(scores))
    write_text(folder / TABLE, format_scores(scores))
    write_text(folder / DOUBTFUL_TAGS, _doubtful_tags(scores))
    if any(split.curve for split in scores.splits):
        from tag2mask.report.curve_plot import draw_curve  # here: Matplotlib is needed only for it

        with atomic_write(folder / CURVE) as temporary:
            draw_curve(temporary, scores)
    else:
        (folder / CURVE).unlink(missing_ok=True)


def _doubtful_tags(scores: EvaluationScores) -> str:
    """Return the doubtful tags of all splits as CSV, to be worked through in a spreadsheet."""
    rows = [
        (split.split, doubt.photo, doubt.tag, doubt.kind, doubt.probability)
        for split in scores.splits
        for doubt in split.doubtful_tags
    ]
    return csv_text([("split", "photo", "tag", "kind", "probability"), *rows])


def _without_maps(scores: EvaluationScores, section: Evaluate) -> dict[str, Any]:
    """Return who made masks that were scored without maps, and what was left out, if they were."""
    if scores.masks_made_by is None:
        return {}
    found: dict[str, Any] = {MASKS_MADE_BY: scores.masks_made_by}
    if section.crf.enabled:
        found["warnings"] = ["evaluate.crf is left out: it sharpens maps, and there are none"]
    return found


def _headline(scores: EvaluationScores) -> dict[str, Any]:
    """Return the main scores of each split, for the manifest."""
    found: dict[str, Any] = {}
    for split in scores.splits:
        found[split.split] = {
            "miou": split.masks and split.masks.miou,
            "best_miou": split.curve and split.curve.best_miou,
            "segmenter_miou": split.network and split.network.miou,
            "best_background_threshold": split.curve and split.curve.best_threshold,
            "tag_map": split.tags and split.tags.mean_average_precision,
            "evidence": split.evidence,
        }
    return found
