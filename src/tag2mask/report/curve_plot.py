"""The threshold curve as a PNG: mIoU of the maps over the background score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tag2mask.ops.evaluation import EvaluationScores

_COLOURS = ("#0072b2", "#d55e00")


def draw_curve(path: Path, scores: EvaluationScores) -> None:
    """Draw each split's curve with its best point, and the background score in use.

    Args:
        path: PNG to write.
        scores: splits without masks are left out.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)  # No pyplot: it keeps global state and looks for a display.
    axes = figure.add_subplot()
    for colour, split in zip(_COLOURS, scores.splits, strict=False):
        if split.curve is None or split.curve.best_miou is None or split.masks is None:
            continue
        percent = [np.nan if miou is None else 100 * miou for miou in split.curve.miou]
        axes.plot(split.curve.thresholds, percent, color=colour,
                  label=f"{split.split}, {split.masks.photos} photos, {split.tag_source} tags")
        axes.plot(split.curve.best_threshold, 100 * split.curve.best_miou, "o", color=colour)
    used = scores.splits[0]
    if used.background_score is not None:
        axes.axvline(used.background_score, color="0.4", linestyle="--",
                     label=f"in use: {used.background_score:g} ({used.background_source})")
    axes.set(xlabel="background score", ylabel="mIoU of the maps, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=144, format="png")
