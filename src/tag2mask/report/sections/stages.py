"""Section about the stages from activation maps to masks, and the gain of each.

All stages of a run were scored on the same photos, so their scores can be subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tag2mask.evaluation.records import SplitScores, StageScores
from tag2mask.evaluation.resampled import difference_interval
from tag2mask.evaluation.wording import (
    mask_name,
    measured_text,
    percent,
    percent_with_interval,
    threshold_text,
    with_unit,
)
from tag2mask.report.curve_plot import curve_series
from tag2mask.report.page import (
    Block,
    Cell,
    Column,
    Figures,
    PageSection,
    PageTable,
    Svg,
    difference,
)
from tag2mask.report.plots import Series, line_plot
from tag2mask.report.sections.scored_runs import ScoredRun, split_names


def has_stages(run: ScoredRun) -> bool:
    """Return whether more than one stage of a run was scored."""
    return run.scores is not None and any(len(split.stages) > 1 for split in run.scores.splits)


def stage_section(runs: Sequence[ScoredRun]) -> PageSection:
    """Return a table of the stages of all runs, and the threshold curves of the main run."""
    blocks: list[Block] = []
    if any(has_stages(run) for run in runs):
        blocks += [
            _table(runs, name)
            for name in split_names(runs)
            if any(found.stages for found in _of_split(runs, name))
        ]
    main, learned = runs[0].scores, mask_name(runs[0].masks_made_by, several=True)
    stages = [stage for split in main.splits for stage in split.stages] if main else []
    if has_stages(runs[0]) and any(map(_is_plotted, stages)):
        blocks.append(_plots(runs[0]))
    return PageSection(
        "stages",
        "From maps to masks",
        tuple(blocks),
        intro="What each stage adds, all on the same photos: activation maps, a dense "
        "CRF on them, the random walk, a dense CRF after it, and the segmentation "
        f"network trained on the {learned}, which gets no tags. Gain: "
        "percentage points over the first stage, with its 95 % interval. Best: mIoU at the "
        "background threshold that is best for these photos, chosen with the same masks; after a "
        "dense CRF, and for the network, there is no threshold to choose.",
    )


def _of_split(runs: Sequence[ScoredRun], name: str) -> list[SplitScores]:
    return [split for run in runs if (split := run.split(name)) is not None]


def _table(runs: Sequence[ScoredRun], name: str) -> PageTable:
    """Return the stages of all runs on one split; the caption says what they were measured on."""
    several = len(runs) > 1
    main = next(split for split in _of_split(runs, name) if split.stages)
    basis = _basis(main, main.stages[0])
    rows: list[tuple[str | Cell, ...]] = []
    for run in runs:
        split = run.split(name)
        for stage in split.stages if split is not None else ():
            assert split is not None
            first, own = split.stages[0], _basis(split, stage)
            gain = Cell("") if stage is first else _gain(run, name, stage, first)
            rows.append(
                (
                    stage.name,
                    *((run.label,) if several else ()),
                    percent_with_interval(
                        _miou(stage), None if stage.used is None else stage.used.miou_interval
                    ),
                    gain,
                    *_precision_and_recall(stage),
                    Cell(
                        _threshold(stage) if own == basis else f"{_threshold(stage)}; {own}",
                        tone="muted",
                    ),
                    *_best(stage),
                )
            )
    columns = (
        Column("stage", numeric=False),
        *((Column("run", numeric=False),) if several else ()),
        Column("mIoU, %"),
        Column("gain"),
        Column("precision, %"),
        Column("recall, %"),
        Column("at background threshold", numeric=False),
        Column("best, %"),
        Column("at"),
    )
    return PageTable(columns, tuple(rows), caption=f"{basis}.")


def _gain(run: ScoredRun, split: str, stage: StageScores, first: StageScores) -> Cell:
    interval = difference_interval(run.resampled, run.resampled, split, stage.name, first.name)
    return difference(_miou(stage), _miou(first), interval)


def _miou(stage: StageScores) -> float | None:
    return stage.used.miou if stage.used is not None else None


def _precision_and_recall(stage: StageScores) -> tuple[str, str]:
    used = stage.used
    return ("–", "–") if used is None else (percent(used.precision), percent(used.recall))


def _best(stage: StageScores) -> tuple[str, str]:
    best = stage.best
    if best is None or best.background_threshold is None:
        return "–", "–"
    return percent(best.miou), f"{best.background_threshold:.2f}"


def _basis(split: SplitScores, stage: StageScores) -> str:
    return measured_text(split, stage.photos, stage.tag_source)


def _threshold(stage: StageScores) -> str:
    used = stage.used
    return threshold_text(
        *(
            (None, "unknown")
            if used is None
            else (used.background_threshold, used.background_source)
        )
    )


def _is_plotted(stage: StageScores) -> bool:
    """Return whether a stage has a curve or a single background threshold to plot."""
    return stage.curve is not None or (
        stage.used is not None and stage.used.background_threshold is not None
    )


def _plots(run: ScoredRun) -> Figures:
    splits = [split for split in run.scores.splits if split.stages] if run.scores else []
    names = list(
        dict.fromkeys(
            stage.name for split in splits for stage in split.stages if _is_plotted(stage)
        )
    )
    figures = tuple(
        (
            f"Split {split.split}" if len(splits) > 1 else "",
            _plot(split, names, wide=len(splits) == 1),
        )
        for split in splits
    )
    return Figures(
        figures,
        legend=tuple(names),
        caption="The maps' mIoU at each background threshold; a pixel gets the class "
        "with the largest score where that exceeds the threshold. Dots mark the best "
        "threshold, which only ground truth can show, and the one in use; a dense CRF is "
        "a single dot.",
    )


def _plot(split: SplitScores, names: Sequence[str], *, wide: bool) -> Svg:
    series = []
    for stage in filter(_is_plotted, split.stages):
        color, used = names.index(stage.name), stage.used
        threshold = used.background_threshold if used is not None else None
        if stage.curve is not None:
            series.append(curve_series(stage.name, stage.curve, threshold, color))
        elif used is not None and threshold is not None and used.miou is not None:
            miou = 100 * used.miou
            text = f"{stage.name}: {with_unit(used.miou)} from {threshold:.2f}"
            series.append(
                Series(
                    stage.name,
                    np.array([threshold]),
                    np.array([miou]),
                    ((threshold, miou, text),),
                    color,
                )
            )
    return line_plot(
        series,
        x_label="background threshold",
        y_label="mIoU, %",
        size=(680, 300) if wide else (480, 280),
    )
