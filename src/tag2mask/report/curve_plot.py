"""The threshold curves as a PNG: mIoU of the maps of each stage over the background threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tag2mask.evaluation.records import CurveScores, EvaluationScores, SplitScores

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_STYLES = ("-", "--")


def draw_curve(path: Path, scores: EvaluationScores) -> None:
    """Draw each split's curves with their best points, and the background threshold in use.

    Of one stage a split has a color; of several each stage has one, and a split a line style.

    Args:
        path: PNG to write.
        scores: splits without masks are left out.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)  # No pyplot: it keeps global state and looks for a display.
    axes = figure.add_subplot()
    several = any(len(_curves(split)) > 1 for split in scores.splits)
    for number, split in enumerate(scores.splits):
        for place, (name, curve) in enumerate(_curves(split)):
            if curve.best_miou is None or split.masks is None:
                continue
            color = _COLORS[(place if several else number) % len(_COLORS)]
            style = _STYLES[number % len(_STYLES)] if several else "-"
            percent = [np.nan if miou is None else 100 * miou for miou in curve.miou]
            label = f"{split.split}, {split.masks.photos} photos, {split.tag_source} tags"
            axes.plot(
                curve.thresholds,
                percent,
                color=color,
                linestyle=style,
                label=f"{name}: {label}" if several else label,
            )
            axes.plot(curve.best_threshold, 100 * curve.best_miou, "o", color=color)
    used = scores.splits[0]
    if used.background_threshold is not None:
        axes.axvline(
            used.background_threshold,
            color="0.4",
            linestyle=":" if several else "--",
            label=f"in use: {used.background_threshold:g} ({used.background_source})",
        )
    axes.set(xlabel="background threshold", ylabel="mIoU of the maps, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small" if several else None)
    figure.savefig(path, dpi=144, format="png")


def _curves(split: SplitScores) -> list[tuple[str, CurveScores]]:
    """The stages that have a curve, by name; of an older evaluation the maps alone."""
    found = [(stage.name, stage.curve) for stage in split.stages if stage.curve is not None]
    return found or ([] if split.curve is None else [("maps", split.curve)])
