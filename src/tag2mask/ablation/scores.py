"""The records of ``ablation.json``, computed from evaluations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tag2mask.ablation.records import (
    MAPS,
    MASKS,
    Measurement,
    RowScores,
    Statistic,
    Summary,
    TrialScores,
)
from tag2mask.evaluation.records import (
    CRF,
    SEGMENTER,
    WALK,
    EvaluationScores,
    PointScores,
    SplitScores,
    StageScores,
)
from tag2mask.evaluation.resampled import PSEUDO_MASKS, ResampledMiou
from tag2mask.metrics.bootstrap import percentile_interval
from tag2mask.metrics.confusion import Float64

RowResamples = Mapping[int, ResampledMiou]
"""The resampled mIoU of a row's trials, by seed."""


def measurements(scores: EvaluationScores) -> tuple[Measurement, ...]:
    """Return each measure of each split of an evaluation; none for splits without masks."""
    found: list[Measurement] = []
    for split in scores.splits:
        found += [
            _stage_measurement(measure, stage, split)
            for stage in split.stages
            if (measure := _measure_of(stage)) is not None
        ]
        masks = _mask_measurement(split)
        found += [] if masks is None else [masks]
    return tuple(found)


def mean_and_spread(values: Sequence[float | None]) -> Statistic | None:
    """Return mean and spread of the values that are not None; None without any."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return None
    spread = float(known.std(ddof=1)) if len(known) > 1 else None
    return Statistic(float(known.mean()), spread, len(known))


def row_scores(
    name: str,
    recipe: str,
    options: Sequence[str],
    learns_from: Literal["tags", "masks"],
    measure: str,
    trials: Sequence[TrialScores],
    first: RowScores | None,
    resampled: RowResamples | None = None,
    first_resampled: RowResamples | None = None,
) -> RowScores:
    """Return the results of a row.

    Args:
        name: name of the row.
        recipe: its recipe.
        options: its settings.
        learns_from: what its network learns from.
        measure: its own measure.
        trials: its trials.
        first: the row to compare it with; None for the first.
        resampled: the resampled scores of its trials, by seed.
        first_resampled: those of ``first``.
    """
    by_key: dict[tuple[str, str], dict[int, Measurement]] = {}
    for trial in trials:
        for value in trial.measured:
            by_key.setdefault((value.split, value.measure), {})[trial.seed] = value
    return RowScores(
        name=name,
        recipe=recipe,
        options=tuple(options),
        learns_from=learns_from,
        measure=measure,
        trials=tuple(trials),
        seconds=mean_and_spread([trial.seconds for trial in trials]),
        summaries=tuple(
            _summary(values, _compared_with(first, split), resampled or {}, first_resampled or {})
            for (split, _), values in by_key.items()
        ),
    )


def _compared_with(first: RowScores | None, split: str) -> dict[int, Measurement] | None:
    if first is None:
        return None
    return {
        trial.seed: value
        for trial in first.trials
        for value in trial.measured
        if (value.split, value.measure) == (split, first.measure)
    }


def _resampled_mean(
    by_seed: Mapping[int, Measurement], resampled: RowResamples, seeds: Collection[int]
) -> Float64 | None:
    """Return the mean over seeds of a measure's mIoU in each resample; None if one lacks it."""
    found = [
        resampled.get(seed, {}).get((value.split, _counted_stage(value)))
        for seed, value in by_seed.items()
        if seed in seeds
    ]
    known = [values for values in found if values is not None]
    return np.mean(known, axis=0) if known and len(known) == len(found) else None


def _counted_stage(value: Measurement) -> str:
    return PSEUDO_MASKS if value.measure == MASKS else value.stage


def _summary(
    by_seed: dict[int, Measurement],
    first: dict[int, Measurement] | None,
    resampled: RowResamples,
    first_resampled: RowResamples,
) -> Summary:
    both = by_seed.keys() & (first or {}).keys()
    own_mean = _resampled_mean(by_seed, resampled, by_seed.keys())
    own_of_both = _resampled_mean(by_seed, resampled, both)
    first_of_both = _resampled_mean(first or {}, first_resampled, both)
    values = list(by_seed.values())
    one = values[0]

    def over_seeds(read: Callable[[Measurement], float | None]) -> Statistic | None:
        return mean_and_spread([read(value) for value in values])

    def gain(read: Callable[[Measurement], float | None]) -> Statistic | None:
        if first is None:
            return None
        pairs = [
            (read(value), read(first[seed])) for seed, value in by_seed.items() if seed in first
        ]
        return mean_and_spread(
            [own - other for own, other in pairs if own is not None and other is not None]
        )

    return Summary(
        measure=one.measure,
        stage=one.stage,
        split=one.split,
        photos=one.photos,
        tag_source=one.tag_source,
        background_source=" / ".join(dict.fromkeys(value.background_source for value in values)),
        background_threshold=over_seeds(lambda value: value.background_threshold),
        miou=over_seeds(lambda value: value.miou),
        best_miou=over_seeds(lambda value: value.best_miou),
        best_background_threshold=over_seeds(lambda value: value.best_background_threshold),
        boundary_miou=over_seeds(lambda value: value.boundary_miou),
        precision=over_seeds(lambda value: value.precision),
        recall=over_seeds(lambda value: value.recall),
        gain=gain(lambda value: value.miou),
        best_gain=gain(lambda value: value.best_miou),
        miou_interval=None if own_mean is None else percentile_interval(own_mean),
        gain_interval=None
        if own_of_both is None or first_of_both is None
        else percentile_interval(own_of_both - first_of_both),
    )


def _measure_of(stage: StageScores) -> str | None:
    """Return the measure of a stage; None after walk and CRF, which is measured as the masks."""
    parts = stage.name.split(" + ")
    if parts[0] == SEGMENTER:
        return SEGMENTER
    if parts[-1] == CRF:
        return None if WALK in parts else CRF
    return WALK if parts[-1] == WALK else MAPS


def _stage_measurement(measure: str, stage: StageScores, split: SplitScores) -> Measurement:
    none = PointScores(None, "unknown", None, None, None)
    used, best = stage.used or none, stage.best or none
    return Measurement(
        measure=measure,
        stage=stage.name,
        split=split.split,
        photos=stage.photos,
        tag_source=stage.tag_source,
        background_threshold=used.background_threshold,
        background_source=used.background_source,
        miou=used.miou,
        best_miou=best.miou,
        best_background_threshold=best.background_threshold,
        boundary_miou=stage.boundary_miou,
        precision=used.precision,
        recall=used.recall,
    )


def _mask_measurement(split: SplitScores) -> Measurement | None:
    """Return the scores of the pseudo masks, with the stage they equal and its best score.

    That is the last stage before the segmenter with the same mIoU: a CRF stage that the evaluation
    added for comparison has another one.
    """
    stages = [stage for stage in split.stages if _measure_of(stage) != SEGMENTER]
    if split.masks is None or not stages:
        return None
    masks = split.masks
    same = [stage for stage in stages if stage.used is not None and stage.used.miou == masks.miou]
    return replace(
        _stage_measurement(MASKS, (same or stages)[-1], split),
        miou=masks.miou,
        boundary_miou=masks.boundary_miou,
        precision=masks.precision,
        recall=masks.recall,
    )
