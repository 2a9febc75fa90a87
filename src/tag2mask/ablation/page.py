"""The HTML page of an ablation: rows, every measure, every seed, failures and commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tag2mask.ablation.plot import row_dots
from tag2mask.ablation.records import (
    AblationScores,
    Difference,
    RowScores,
    Statistic,
    TrialScores,
)
from tag2mask.ablation.text_tables import (
    NO_OWN_MEASURE,
    TEXT_HEADS,
    compared_rows,
    difference_head,
    failures,
    measure_head,
    measure_rows,
    own_head,
    own_rows,
    points,
    reading_text,
    splits_text,
    state_text,
)
from tag2mask.metrics.bootstrap import Interval
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


def ablation_page(scores: AblationScores) -> Page:
    """Return the page of an ablation, finished or not."""
    return Page(
        title=f"Ablation: {scores.table}",
        subtitle=f"{scores.description} {state_text(scores)}.".strip(),
        sections=(
            _numbers(scores),
            _differences(scores),
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
        blocks.append(Note(f"{splits_text(scores)}. {reading_text(scores)}"))
        blocks.append(PageTable(_columns(own_head(scores)), tuple(own_rows(scores, 1))))
    return PageSection(
        "rows",
        "Rows",
        tuple(blocks),
        intro="Each row's own measure: its segmentation network if it trains one, "
        "else its pseudo masks, unless the table sets another.",
    )


def _columns(head: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(title, numeric=title not in TEXT_HEADS) for title in head)


def _differences(scores: AblationScores) -> PageSection:
    rows = tuple(
        (row.name, other, *(cell for one in splits for cell in _difference_cells(one)))
        for row, other, splits in compared_rows(scores)
    )
    return PageSection(
        "differences",
        "Differences",
        (PageTable(_columns(difference_head(scores)), rows),) if rows else (),
        intro="Percentage points: to the row that a row is compared with, and to the row before. "
        "Gray: the 95 % interval over photos contains 0, or the mean is within the spread over "
        "seeds, or there is one seed only.",
    )


def _difference_cells(found: Difference | None) -> tuple[str | Cell, str | Cell]:
    if found is None:
        return "–", "–"
    return (
        _difference_cell(found.miou, found.miou_interval),
        _difference_cell(found.best_miou, found.best_miou_interval),
    )


def _difference_cell(value: Statistic | None, interval: Interval | None) -> Cell:
    """Return a difference in green or red; muted where it may be 0."""
    text, (low, high) = points(value, 1, interval), interval or (1.0, 1.0)
    if value is None or value.spread is None or abs(value.mean) <= value.spread or low <= 0 <= high:
        return Cell(text, tone="muted")
    return Cell(text, tone="good" if value.mean > 0 else "bad")


def _measures(scores: AblationScores) -> PageSection:
    rows = tuple(measure_rows(scores, digits=1))
    table = PageTable(
        _columns(measure_head(scores)),
        rows,
        caption="%, means over seeds. Precision and recall: means over the classes.",
    )
    return PageSection(
        "measures",
        "Every measure",
        (table,) if rows else (),
        intro="All stages of all rows: activation maps, a dense CRF on them, the random "
        "walk, the masks made from the last of these, the segmentation network. "
        f"{splits_text(scores)}.",
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
