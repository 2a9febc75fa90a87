"""The HTML page of an ablation: rows, every measure, every seed, failures and commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tag2mask.ablation.plot import row_dots
from tag2mask.ablation.records import AblationScores, RowScores, Statistic, Summary, TrialScores
from tag2mask.ablation.text_tables import (
    MEASURE_HEAD,
    NO_OWN_MEASURE,
    best_text,
    failures,
    gain_text,
    mean_percent,
    mean_threshold_text,
    measure_rows,
    own_head,
    points,
    reading_text,
    rows_basis_text,
    seconds_text,
    seeds_done,
    stage_text,
    state_text,
    with_interval,
)
from tag2mask.report.page import (
    Block,
    Cell,
    Column,
    Figures,
    Folded,
    Note,
    Page,
    PageSection,
    PageTable,
)
from tag2mask.report.plots import dot_plot
from tag2mask.runtime.durations import format_duration

_TEXTS = frozenset({"row", "measured", "background threshold", "on"})
"""Heads of the text columns."""


def ablation_page(scores: AblationScores) -> Page:
    """Return the page of an ablation, finished or not."""
    return Page(
        title=f"Ablation: {scores.table}",
        subtitle=f"{scores.description} {state_text(scores)}.".strip(),
        sections=(
            _numbers(scores),
            _measures(scores),
            _trials(scores),
            _failed(scores),
            _commands(scores),
        ),
        footer=f"tag2mask {scores.tag2mask}; data {scores.data}",
    )


def _numbers(scores: AblationScores) -> PageSection:
    blocks: list[Block] = []
    if not scores.splits:
        blocks.append(Note(NO_OWN_MEASURE if scores.counts["done"] else "No row is done yet."))
    else:
        legend = tuple(f"{split}, {scores.photos(split)} photos" for split in scores.splits)
        blocks.append(
            Figures(
                (("", dot_plot(row_dots(scores), x_label="mIoU, %")),),
                legend=legend,
                caption=(
                    "mIoU of each row: filled at the background threshold in use, hollow at the "
                    "best one, which is chosen on the masks."
                    + " Bars: sample standard deviation over seeds."
                    * (len(scores.seeds) > 1)
                ),
            )
        )
        blocks.append(Note(reading_text(scores)))
        blocks += [_own_table(scores, split) for split in scores.splits]
    return PageSection(
        "rows",
        "Rows",
        tuple(blocks),
        intro="Each row's own measure: its segmentation network if it trains one, "
        "else its pseudo masks, unless the table sets another.",
    )


def _own_table(scores: AblationScores, split: str) -> PageTable:
    head = own_head(scores)
    return PageTable(
        tuple(Column(title, numeric=title not in _TEXTS) for title in head),
        tuple(
            (
                row.name,
                *_own_cells(row, row.own(split), scores),
                str(seeds_done(row)),
                seconds_text(row.seconds),
            )
            for row in scores.rows
        ),
        caption=f"{rows_basis_text(scores, split)}.",
    )


def _own_cells(row: RowScores, own: Summary | None, scores: AblationScores) -> Sequence[str | Cell]:
    if own is None:
        return ("–",) * 7
    return (
        Cell(stage_text(row, own), tone="muted"),
        with_interval(mean_percent(own.miou, 1), own.miou_interval, 1),
        _gain_over_first(own),
        best_text(own, 1),
        _gain(own.best_gain),
        mean_percent(own.boundary_miou, 1),
        Cell(mean_threshold_text(own), tone="muted"),
    )


def _gain_over_first(own: Summary) -> Cell:
    """Return the gain; gray also where its 95 % interval over photos contains 0."""
    cell = _gain(own.gain)
    low, high = own.gain_interval or (1.0, 1.0)
    return Cell(gain_text(own, 1), tone="muted" if low <= 0 <= high else cell.tone)


def _gain(value: Statistic | None) -> Cell:
    """Return a gain in green or red; muted if within the spread or of a single seed."""
    if value is None or value.spread is None or abs(value.mean) <= value.spread:
        return Cell(points(value, 1), tone="muted")
    tone: Literal["good", "bad"] = "good" if value.mean > 0 else "bad"
    return Cell(points(value, 1), tone=tone)


def _measures(scores: AblationScores) -> PageSection:
    rows = tuple(measure_rows(scores, digits=1))
    table = PageTable(
        tuple(Column(title, numeric=title not in _TEXTS) for title in MEASURE_HEAD),
        rows,
        caption="%, means over seeds. Precision and recall: means over the classes.",
    )
    return PageSection(
        "measures",
        "Every measure",
        (table,) if rows else (),
        intro="All stages of all rows: activation maps, a dense CRF on them, the random "
        "walk, the masks made from the last of these, the segmentation network.",
    )


def _trials(scores: AblationScores) -> PageSection:
    columns = (
        Column("row", numeric=False),
        Column("seed"),
        Column("state", numeric=False),
        *(Column(f"{split}, mIoU") for split in scores.splits),
        Column("time"),
    )
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            row.name,
            str(trial.seed),
            Cell(trial.state, tone=_TONES[trial.state]),
            *(_miou(row, trial, split) for split in scores.splits),
            "–" if trial.seconds is None else format_duration(trial.seconds),
        )
        for row in scores.rows
        for trial in row.trials
    )
    return PageSection(
        "seeds",
        "Every seed",
        (PageTable(columns, rows),),
        intro="Time: all steps of the row, including those shared with other rows.",
    )


_TONES: dict[str, Literal["", "bad", "muted"]] = {"done": "", "failed": "bad", "waiting": "muted"}


def _miou(row: RowScores, trial: TrialScores, split: str) -> str:
    found = next(
        (
            value.miou
            for value in trial.measured
            if (value.split, value.measure) == (split, row.measure)
        ),
        None,
    )
    return "–" if found is None else f"{100 * found:.1f}"


def _failed(scores: AblationScores) -> PageSection:
    rows = tuple((name, str(seed), message) for name, seed, message in failures(scores))
    columns = (
        Column("row", numeric=False),
        Column("seed"),
        Column("reason", numeric=False, wide=True),
    )
    return PageSection(
        "failed",
        "Failed",
        (PageTable(columns, rows),) if rows else (),
        intro="The other rows continued; the same command tries these again.",
    )


def _commands(scores: AblationScores) -> PageSection:
    return PageSection(
        "commands",
        "Commands",
        tuple(
            Folded(row.name, "\n\n".join(trial.command for trial in row.trials))
            for row in scores.rows
        ),
        intro="Each command makes one row and seed as an ordinary run.",
    )
