"""The dataclasses that ``ablation.json`` consists of.

Shares and IoU are in [0, 1]; a value that doesn't exist is None. docs/how-to/ablate.md describes
each field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tag2mask.metrics.bootstrap import Interval

MAPS, MASKS = "maps", "masks"
"""Names of two measures; the others, ``CRF``, ``walk`` and ``segmenter``, are named as stages."""


@dataclass(frozen=True)
class Measurement:
    """The value of one measure of one trial on one split.

    Attributes:
        measure: ``maps``, ``CRF``, ``walk``, ``masks`` or ``segmenter``.
        stage: name of the stage in the evaluation, such as ``SEAM + walk``.
        background_threshold, background_source: as in `PointScores`.
        miou: at ``background_threshold``.
        best_miou: at ``best_background_threshold``, which is chosen on the same masks; None for
            masks.
        boundary_miou: None for maps.
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
    """The results of one row with one seed.

    Attributes:
        state: ``waiting``: not run yet.
        command: the command of an ordinary run with the same result.
        message: the error message of a failed trial.
        seconds: duration of all its steps, including those shared with other trials.
        measured: empty unless ``state`` is ``done``.
        skipped: photos skipped by its steps, each with the reason.
    """

    seed: int
    state: Literal["done", "failed", "waiting"]
    command: str
    message: str = ""
    seconds: float | None = None
    measured: tuple[Measurement, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statistic:
    """Mean and spread of a value over seeds.

    Attributes:
        mean: over the seeds with a value.
        spread: sample standard deviation (divided by n - 1); None for a single seed.
        n: number of seeds with a value.
    """

    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """What a row has more than another one, in [-1, 1].

    Attributes:
        row: name of the other row.
        miou, best_miou: seed by seed, over the seeds that both rows have.
        miou_interval, best_miou_interval: 95 % intervals of the means over photos, not over seeds;
            the photos have the same weights in both rows.
    """

    row: str
    miou: Statistic | None
    best_miou: Statistic | None
    miou_interval: Interval | None = None
    best_miou_interval: Interval | None = None


@dataclass(frozen=True)
class Summary:
    """One measure of one row on one split, averaged over seeds.

    Attributes:
        background_source: of all seeds; different ones are joined by a slash.
        miou_interval: 95 % interval of the mean mIoU over photos, not over seeds.
        over_base: the difference to the row that the table compares this one with.
        over_previous: the difference to the row before; of networks, to the network before.
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
    miou_interval: Interval | None = None
    over_base: Difference | None = None
    over_previous: Difference | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The differences to the base and to the row before, once if these are the same row."""
        found = [one for one in (self.over_base, self.over_previous) if one is not None]
        return tuple({one.row: one for one in found}.values())


@dataclass(frozen=True)
class RowScores:
    """The results of one row.

    Attributes:
        options: ``section.key=value`` settings, without the seed.
        learns_from: ``masks`` if its segmenter is trained on ground truth, else ``tags``.
        measure: the row's own measure, which is compared with those of other rows.
        seconds: as in `TrialScores`, averaged over seeds.
        summaries: one per split and measure.
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
        """Return the summary of the row's own measure on a split; None without one."""
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
    """The content of ``ablation.json``.

    Attributes:
        tag2mask: version of the package that wrote it.
        table: name or file of the table.
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
        """Splits on which at least one row has a value of its own measure."""
        found = (
            summary.split
            for row in self.rows
            for summary in row.summaries
            if summary.measure == row.measure
        )
        return tuple(dict.fromkeys(found))

    def photos(self, split: str) -> int:
        """Return the number of photos of a split that the rows' own measures are from."""
        return max(own.photos for row in self.rows if (own := row.own(split)) is not None)

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials by state."""
        states = [trial.state for row in self.rows for trial in row.trials]
        return {state: states.count(state) for state in ("done", "failed", "waiting")}
