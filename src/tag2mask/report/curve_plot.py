"""Threshold curves: mIoU of the maps of each stage over the background threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tag2mask.evaluation.records import CurveScores, EvaluationScores, SplitScores
from tag2mask.evaluation.wording import with_unit
from tag2mask.report.plot_figure import MUTED, save_png
from tag2mask.report.plots import Series, line_figure


def curve_series(
    name: str, curve: CurveScores, used: float | None, color: int, *, dashed: bool = False
) -> Series:
    """Return a threshold curve with its best point and, where given, the one in use as marks."""
    thresholds = np.array(curve.thresholds)
    miou = np.array([np.nan if m is None else m for m in curve.miou])
    marks = []
    if curve.best_miou is not None:
        text = f"{name}: best, {with_unit(curve.best_miou)} at {curve.best_threshold:.2f}"
        marks.append((curve.best_threshold, 100 * curve.best_miou, text))
    if used is not None and thresholds[0] <= used <= thresholds[-1]:
        value = float(np.interp(used, thresholds, miou))
        if np.isfinite(value):
            marks.append((used, 100 * value, f"{name}: in use, {with_unit(value)} at {used:.2f}"))
    return Series(name, thresholds, 100 * miou, tuple(marks), color, dashed=dashed)


def draw_curve(path: Path, scores: EvaluationScores) -> None:
    """Draw the curves of each split with their best points, and the background threshold in use.

    With one stage, each split has a color. With several, each stage has a color and each split a
    line style.

    Args:
        path: PNG to write.
        scores: splits without masks are left out.
    """
    several = any(len(_curves(split)) > 1 for split in scores.splits)
    series = []
    for number, split in enumerate(scores.splits):
        for place, (name, curve) in enumerate(_curves(split)):
            if curve.best_miou is None or split.masks is None:
                continue
            label = f"{split.split}, {split.masks.photos} photos, {split.tag_source} tags"
            series.append(
                curve_series(
                    f"{name}: {label}" if several else label,
                    curve,
                    None,
                    place if several else number,
                    dashed=several and number % 2 == 1,
                )
            )
    figure = line_figure(
        series, x_label="background threshold", y_label="mIoU of the maps, %", size=(640, 400)
    )
    (axes,) = figure.axes
    used = scores.splits[0]
    if used.background_threshold is not None:
        axes.axvline(
            used.background_threshold,
            color=MUTED,
            linestyle=":",
            label=f"in use: {used.background_threshold:g} ({used.background_source})",
        )
    axes.legend(fontsize="small" if several else None)
    save_png(figure, path)


def _curves(split: SplitScores) -> list[tuple[str, CurveScores]]:
    """Return the stages that have a curve, by name."""
    found = [(stage.name, stage.curve) for stage in split.stages if stage.curve is not None]
    return found or ([] if split.curve is None else [("maps", split.curve)])
