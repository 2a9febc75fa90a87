"""What ``ablation.json`` holds: the numbers of every row and seed, and what they come to.

Shares and IoU are in [0, 1], as in ``evaluation.json``, from which all of them are taken; a value
that doesn't exist is None. docs/how-to/ablate.md describes each field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tag2mask.evaluation.records import (
    CRF,
    SEGMENTER,
    WALK,
    EvaluationScores,
    PointScores,
    SplitScores,
    StageScores,
)

MAPS, MASKS = "maps", "masks"
"""Measures beside those that are named as their stage is: ``CRF``, ``walk``, ``segmenter``."""


@dataclass(frozen=True)
class Measured:
    """One measure of one trial on one split.

    Attributes:
        measure: ``maps``, ``CRF``, ``walk``, ``masks`` or ``segmenter``.
        stage: what the evaluation calls it, such as ``SEAM + walk``.
        background_threshold, background_source: as in `PointScores`.
        miou: at that score.
        best_miou: at ``best_background_threshold``, chosen with the very masks that it is measured
            on; None where there is none to choose.
        boundary_miou: None where the evaluation has none.
    """

    measure: str
    stage: str
    split: str
    photos: int
    tag_source: str
    background_threshold: float | None
    background_source: str
    miou: float | None
    best_miou: float | None
    best_background_threshold: float | None
    boundary_miou: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class TrialScores:
    """One row with one seed.

    Attributes:
        state: ``failed`` for a reason that ``message`` tells; ``waiting`` for its turn.
        command: makes the same as a run of its own.
        seconds: work of all its steps, those shared with other trials included.
        measured: none unless ``state`` is done.
        skipped: photos that its steps left out, each with its reason.
    """

    seed: int
    state: Literal["done", "failed", "waiting"]
    command: str
    message: str = ""
    seconds: float | None = None
    measured: tuple[Measured, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statistic:
    """A number over seeds.

    Attributes:
        mean: over the seeds that have it.
        spread: sample standard deviation (n - 1); None of a single one.
        n: number of seeds.
    """

    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True)
class Summary:
    """One measure of one row on one split, over its seeds.

    Attributes:
        background_source: of all seeds; several are joined by a slash.
        gain, best_gain: mIoU less that of the first row's own measure, over the seeds that both
            have; None for the first row itself.
    """

    measure: str
    stage: str
    split: str
    photos: int
    tag_source: str
    background_source: str
    background_threshold: Statistic | None
    miou: Statistic | None
    best_miou: Statistic | None
    best_background_threshold: Statistic | None
    boundary_miou: Statistic | None
    precision: Statistic | None
    recall: Statistic | None
    gain: Statistic | None
    best_gain: Statistic | None


@dataclass(frozen=True)
class RowScores:
    """One row.

    Attributes:
        learns_from: ``masks``: its segmenter does, fully supervised.
        measure: the row's own.
        options: what it sets, besides the seed.
        seconds: as in `TrialScores`, over seeds.
        summaries: by split and measure.
    """

    name: str
    recipe: str
    options: tuple[str, ...]
    learns_from: Literal["tags", "masks"]
    measure: str
    trials: tuple[TrialScores, ...]
    seconds: Statistic | None
    summaries: tuple[Summary, ...]

    def own(self, split: str) -> Summary | None:
        """The summary of the row's own measure on a split."""
        return next(
            (
                summary
                for summary in self.summaries
                if (summary.split, summary.measure) == (split, self.measure)
            ),
            None,
        )


@dataclass(frozen=True)
class AblationScores:
    """The whole of ``ablation.json``.

    Attributes:
        tag2mask: the version that wrote it.
        table: name or file.
        data: the data folder.
    """

    tag2mask: str
    table: str
    description: str
    data: str
    seeds: tuple[int, ...]
    rows: tuple[RowScores, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that any row has its own number on."""
        found = (
            summary.split
            for row in self.rows
            for summary in row.summaries
            if summary.measure == row.measure
        )
        return tuple(dict.fromkeys(found))

    def photos(self, split: str) -> int:
        """Return the number of photos that the rows' own numbers were measured on."""
        return max(own.photos for row in self.rows if (own := row.own(split)) is not None)

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        states = [trial.state for row in self.rows for trial in row.trials]
        return {state: states.count(state) for state in ("done", "failed", "waiting")}


def measured(scores: EvaluationScores) -> tuple[Measured, ...]:
    """What an evaluation says, by measure and split; nothing of splits without masks."""
    found: list[Measured] = []
    for split in scores.splits:
        found += [
            _of_stage(measure, stage, split)
            for stage in split.stages
            if (measure := _measure_of(stage)) is not None
        ]
        masks = _of_masks(split)
        found += [] if masks is None else [masks]
    return tuple(found)


def statistic(values: Sequence[float | None]) -> Statistic | None:
    """Mean and spread of the values there are; None of none."""
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
) -> RowScores:
    """Put a row's trials into a record; ``first``: the row that it is compared with."""
    by_key: dict[tuple[str, str], dict[int, Measured]] = {}
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
        seconds=statistic([trial.seconds for trial in trials]),
        summaries=tuple(
            _summary(values, _compared_with(first, split)) for (split, _), values in by_key.items()
        ),
    )


def _compared_with(first: RowScores | None, split: str) -> dict[int, Measured] | None:
    if first is None:
        return None
    return {
        trial.seed: value
        for trial in first.trials
        for value in trial.measured
        if (value.split, value.measure) == (split, first.measure)
    }


def _summary(by_seed: dict[int, Measured], first: dict[int, Measured] | None) -> Summary:
    values = list(by_seed.values())
    one = values[0]

    def over_seeds(read: Callable[[Measured], float | None]) -> Statistic | None:
        return statistic([read(value) for value in values])

    def gain(read: Callable[[Measured], float | None]) -> Statistic | None:
        if first is None:
            return None
        pairs = [
            (read(value), read(first[seed])) for seed, value in by_seed.items() if seed in first
        ]
        return statistic(
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
    )


def _measure_of(stage: StageScores) -> str | None:
    """Which measure a stage is; None of one that the masks alone are (walk and CRF)."""
    done = stage.name.split(" + ")
    if done[0] == SEGMENTER:
        return SEGMENTER
    if done[-1] == CRF:
        return None if WALK in done else CRF
    return WALK if done[-1] == WALK else MAPS


def _of_stage(measure: str, stage: StageScores, split: SplitScores) -> Measured:
    none = PointScores(None, "unknown", None, None, None)
    used, best = stage.used or none, stage.best or none
    return Measured(
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


def _of_masks(split: SplitScores) -> Measured | None:
    """The pseudo masks: one of the stages before the segmenter, and more is known of them.

    Mostly the last one; the last but one where a CRF was only added to compare with.
    """
    stages = [stage for stage in split.stages if _measure_of(stage) != SEGMENTER]
    if split.masks is None or not stages:
        return None
    masks = split.masks
    same = [stage for stage in stages if stage.used is not None and stage.used.miou == masks.miou]
    return replace(
        _of_stage(MASKS, (same or stages)[-1], split),
        miou=masks.miou,
        boundary_miou=masks.boundary_miou,
        precision=masks.precision,
        recall=masks.recall,
    )
