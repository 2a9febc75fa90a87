"""The records of ``ablation.json``, computed from evaluations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from tag2mask.ablation.records import (
    MAPS,
    MASKS,
    Difference,
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
from tag2mask.metrics.bootstrap import Interval, percentile_interval
from tag2mask.metrics.confusion import Float64


class Resampled(NamedTuple):
    """Resampled mIoU of one trial.

    Attributes:
        used: of each stage and of the pseudo masks, at the background threshold in use.
        best: of the stages that are maps, at the best background threshold.
    """

    used: ResampledMiou
    best: ResampledMiou


RowResamples = Mapping[int, Resampled]
"""The resampled mIoU of a row's trials, by seed."""


class OtherRow(NamedTuple):
    """A row that another one is compared with."""

    scores: RowScores
    resampled: RowResamples


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
    resampled: RowResamples = MappingProxyType({}),
    *,
    base: OtherRow | None = None,
    previous: OtherRow | None = None,
) -> RowScores:
    """Return the results of a row.

    Args:
        name: name of the row.
        recipe: its recipe.
        options: its settings.
        learns_from: what its network learns from.
        measure: its own measure.
        trials: its trials.
        resampled: the resampled scores of its trials, by seed.
        base: the row to compare it with; None for the first.
        previous: the row before.
    """
    by_key: dict[tuple[str, str], dict[int, Measurement]] = {}
    for trial in trials:
        for value in trial.measured:
            by_key.setdefault((value.split, value.measure), {})[trial.seed] = value

    def summary(values: dict[int, Measurement], is_own: bool) -> Summary:
        over = [
            None if other is None else _difference(values, resampled, other, is_own)
            for other in (base, previous)
        ]
        return replace(_summary(values, resampled), over_base=over[0], over_previous=over[1])

    return RowScores(
        name=name,
        recipe=recipe,
        options=tuple(options),
        learns_from=learns_from,
        measure=measure,
        trials=tuple(trials),
        seconds=mean_and_spread([trial.seconds for trial in trials]),
        summaries=tuple(summary(values, own == measure) for (_, own), values in by_key.items()),
    )


def _difference(
    by_seed: Mapping[int, Measurement],
    resampled: RowResamples,
    other: OtherRow,
    is_own: bool,
) -> Difference:
    """Return the difference to another row: own measures to its own one, others to the same."""
    one = next(iter(by_seed.values()))
    measure = other.scores.measure if is_own else one.measure
    others = {
        trial.seed: value
        for trial in other.scores.trials
        for value in trial.measured
        if (value.split, value.measure) == (one.split, measure)
    }
    both = by_seed.keys() & others.keys()

    def gain(read: Callable[[Measurement], float | None]) -> Statistic | None:
        pairs = [(read(by_seed[seed]), read(others[seed])) for seed in sorted(both)]
        return mean_and_spread(
            [own - before for own, before in pairs if own is not None and before is not None]
        )

    def interval(read: _Read) -> Interval | None:
        own = _mean_over_seeds(by_seed, resampled, both, read)
        before = _mean_over_seeds(others, other.resampled, both, read)
        return None if own is None or before is None else percentile_interval(own - before)

    return Difference(
        other.scores.name,
        gain(lambda value: value.miou),
        gain(lambda value: value.best_miou),
        interval(_used),
        interval(_best),
    )


_Read = Callable[[Resampled, Measurement], Float64 | None]


def _used(found: Resampled, value: Measurement) -> Float64 | None:
    stage = PSEUDO_MASKS if value.measure == MASKS else value.stage
    return found.used.get((value.split, stage))


def _best(found: Resampled, value: Measurement) -> Float64 | None:
    return found.best.get((value.split, value.stage))


def _mean_over_seeds(
    by_seed: Mapping[int, Measurement],
    resampled: RowResamples,
    seeds: Collection[int],
    read: _Read,
) -> Float64 | None:
    """Return the mean over seeds of a measure's mIoU in each resample; None if one lacks it."""
    found = [read(resampled[seed], by_seed[seed]) if seed in resampled else None for seed in seeds]
    known = [values for values in found if values is not None]
    return np.mean(known, axis=0) if known and len(known) == len(found) else None


def _summary(by_seed: dict[int, Measurement], resampled: RowResamples) -> Summary:
    own_mean = _mean_over_seeds(by_seed, resampled, by_seed.keys(), _used)
    values = list(by_seed.values())
    one = values[0]

    def over_seeds(read: Callable[[Measurement], float | None]) -> Statistic | None:
        return mean_and_spread([read(value) for value in values])

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
        miou_interval=None if own_mean is None else percentile_interval(own_mean),
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
