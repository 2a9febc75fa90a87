"""Section about missed photos and false alarms of the network, against the tags."""

from __future__ import annotations

from tag2mask.evaluation.photo_rates import cell_interval
from tag2mask.evaluation.records import EvaluationScores, PhotoRates, SplitScores
from tag2mask.evaluation.wording import interval_text, percent, rate_text
from tag2mask.report.page import Block, Cell, Column, PageSection, PageTable
from tag2mask.report.sections.scored_runs import ScoredRun, class_colors

MATRIX_CLASSES = 21
"""Classes of the matrix: those with the most missed photos and false alarms."""


def rates_section(main: ScoredRun) -> PageSection:
    """Return the rates of each class and the matrix, of the validation photos if there are any."""
    blocks: list[Block] = []
    for split in main.scores.splits if main.scores is not None else ():
        if split.rates is not None and main.scores is not None:
            blocks.append(_rates_table(main.scores, split, split.rates))
    measured = [split for split in main.scores.splits if split.rates] if main.scores else []
    if measured and main.scores is not None:
        last = measured[-1]
        assert last.rates is not None
        blocks.append(_matrix(main.scores, last, last.rates))
    return PageSection(
        "photo-rates",
        "Missed photos and false alarms",
        tuple(blocks),
        intro="What the network's masks show, against the tags of the photos: this needs no masks. "
        "The network was trained on the training photos, so look at the validation photos.",
    )


def _rates_table(scores: EvaluationScores, split: SplitScores, rates: PhotoRates) -> PageTable:
    colors = class_colors(scores)[1:]
    columns = (
        Column("class", numeric=False),
        Column("missed, %", wide=True),
        Column("of photos with the tag"),
        Column("false alarms, %", wide=True),
        Column("of photos without"),
    )
    rows = tuple(
        (
            Cell(c.name, swatch=color),
            _bar(c.missed, c.tagged, rate_text(c.missed, c.tagged, c.missed_interval)),
            f"{c.missed:,} of {c.tagged:,}",
            _bar(
                c.false_alarms,
                c.untagged,
                rate_text(c.false_alarms, c.untagged, c.false_alarm_interval),
            ),
            f"{c.false_alarms:,} of {c.untagged:,}",
        )
        for c, color in zip(rates.classes, colors, strict=True)
    )
    return PageTable(
        columns,
        rows,
        caption=f"{split.split}, {rates.photos:,} photos. A photo shows a class from "
        f"{percent(rates.min_area, 2)} % of its area on (evaluate.min_area). "
        "In brackets: 95 % intervals.",
    )


def _bar(hits: int, photos: int, text: str) -> Cell:
    return Cell(text, bar=hits / photos if photos else 0.0)


def _matrix(scores: EvaluationScores, split: SplitScores, rates: PhotoRates) -> PageTable:
    names = scores.classes[1:]
    wrong = [c.missed + c.false_alarms for c in rates.classes]
    shown = sorted(sorted(range(len(names)), key=lambda c: -wrong[c])[:MATRIX_CLASSES])
    rows = []
    for i in (*shown, len(names)):
        name = names[i] if i < len(names) else "no tag"
        row: list[str | Cell] = [Cell(name, title=f"photos with the tag {name}")]
        row += [_matrix_cell(rates, i, j, names[j]) for j in shown]
        rows.append(tuple(row))
    left_out = len(names) - len(shown)
    note = f" {left_out} classes with fewer errors are left out." if left_out else ""
    return PageTable(
        (Column("", numeric=False), *(Column(names[j]) for j in shown)),
        tuple(rows),
        caption=f"{split.split}: of the photos with the row's tag, the share whose mask shows the "
        "column's class, in %. On the diagonal 100 is right; elsewhere only photos without the "
        f"column's tag count, and each is a false alarm.{note}",
        matrix=True,
        unfolded=MATRIX_CLASSES + 1,
    )


def _matrix_cell(rates: PhotoRates, i: int, j: int, name: str) -> Cell:
    hits, photos = rates.shown[i][j], rates.among[i][j]
    if not photos:
        return Cell("–", tone="muted", title="no such photo")
    share = hits / photos
    return Cell(
        f"{100 * share:.0f}" if hits else "",
        heat=share**0.5,
        tone="good" if i == j else "",
        title=f"{hits} of {photos} photos show {name}; "
        f"95 % interval {interval_text(cell_interval(rates, i, j), 0)} %",
    )
