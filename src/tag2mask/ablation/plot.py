"""Dot plot of an ablation: each row's mIoU with its spread over seeds, one dot per split."""

from __future__ import annotations

from pathlib import Path

from matplotlib.lines import Line2D

from tag2mask.ablation.records import AblationScores, Summary
from tag2mask.ablation.text_tables import (
    best_text,
    mean_percent,
    mean_threshold_text,
    row_label,
    state_text,
)
from tag2mask.report.plot_figure import GROUND, SERIES_COLORS, save_png
from tag2mask.report.plots import Dot, dot_figure


def row_dots(scores: AblationScores) -> list[tuple[str, list[Dot]]]:
    """Return name and dots of each row: one color per split.

    A dot is filled at the background threshold in use and hollow at the best one.
    """
    rows = []
    for row in scores.rows:
        dots: list[Dot] = []
        for color, split in enumerate(scores.splits):
            own = row.own(split)
            if own is not None:
                dots += _dots(own, color)
        rows.append((row_label(row), dots))
    return rows


def draw_ablation(path: Path, scores: AblationScores) -> None:
    """Draw the mIoU of each row's own measure, with a legend.

    Args:
        path: PNG file to write.
        scores: results with at least one split.
    """
    bars = "; bars: sample standard deviation over seeds" * (len(scores.seeds) > 1)
    figure = dot_figure(row_dots(scores), x_label=f"mIoU, %{bars}")
    figure.set_figheight(figure.get_figheight() + 0.6)
    (axes,) = figure.axes
    axes.set_title(state_text(scores), fontsize="small", loc="left")
    entries = []
    for number, split in enumerate(scores.splits):
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        label = f"{split}, {scores.photos(split)} photos"
        entries += [_entry(color, color, label), _entry(color, GROUND, f"{label}, best threshold")]
    figure.legend(
        handles=entries,
        loc="outside lower right",
        ncols=2 * len(scores.splits),
        fontsize="small",
        frameon=False,
    )
    save_png(figure, path)


def _entry(color: str, fill: str, label: str) -> Line2D:
    """Return a legend entry: a dot and its label."""
    return Line2D([], [], linestyle="", marker="o", color=color, markerfacecolor=fill, label=label)


def _dots(own: Summary, color: int) -> list[Dot]:
    """Return both dots of a row; the hollow one has no bar, which would cover the other's."""
    dots = []
    if own.best_miou is not None:
        text = f"{own.split}, best: {best_text(own, 1)}"
        dots.append(Dot(100 * own.best_miou.mean, None, text, color, hollow=True))
    if own.miou is not None:
        spread = None if own.miou.spread is None else 100 * own.miou.spread
        text = f"{own.split}: {mean_percent(own.miou, 1)} at {mean_threshold_text(own)}"
        dots.append(Dot(100 * own.miou.mean, spread, text, color))
    return dots
