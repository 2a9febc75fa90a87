"""The rows of an ablation as a PNG: each row's mIoU with its spread over seeds, a dot a split."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tag2mask.ablation.scores import AblationScores, RowScores, Summary
from tag2mask.ablation.text_tables import state_text

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_LONGEST_NAME = 40


def draw_ablation(path: Path, scores: AblationScores) -> None:
    """Draw every row's own mIoU, filled at the background threshold in use, hollow at the best one.

    Args:
        path: PNG to write.
        scores: at least one row of one split has a number.
    """
    figure = Figure(figsize=(7.6, 1.3 + 0.36 * len(scores.rows)), layout="constrained")
    FigureCanvasAgg(figure)  # No pyplot: it keeps global state and looks for a display.
    axes = figure.add_subplot()
    splits = scores.splits
    for number, split in enumerate(splits):
        color = _COLORS[number % len(_COLORS)]
        shift = 0.26 * (number - (len(splits) - 1) / 2)
        for place, row in enumerate(scores.rows):
            own = row.own(split)
            if own is not None:
                _dots(axes, own, place + shift, color)
        photos = max(own.photos for row in scores.rows if (own := row.own(split)) is not None)
        label = f"{split}, {photos} photos"
        axes.plot([], [], "o", color=color, label=label)
        axes.plot([], [], "o", color=color, markerfacecolor="none", label=f"{label}, best score")
    axes.set_yticks(range(len(scores.rows)), [_label(row) for row in scores.rows])
    axes.set_ylim(len(scores.rows) - 0.5, -0.5)
    bars = "; bars: sample standard deviation over seeds" * (len(scores.seeds) > 1)
    axes.set_xlabel(f"mIoU, %{bars}")
    axes.set_title(state_text(scores), fontsize="small", loc="left")
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower right", ncols=2 * len(splits), fontsize="small", frameon=False)
    figure.savefig(path, dpi=144, format="png")


def _dots(axes: Axes, own: Summary, place: float, color: str) -> None:
    """Both dots of a row; the best score's has no bar, which would lie over the other's."""
    if own.best_miou is not None:
        axes.plot(
            100 * own.best_miou.mean,
            place,
            "o",
            color=color,
            markerfacecolor="white",
            markersize=6.5,
        )
    if own.miou is not None:
        spread = None if own.miou.spread is None else 100 * own.miou.spread
        axes.errorbar(
            100 * own.miou.mean,
            place,
            xerr=spread,
            fmt="o",
            color=color,
            elinewidth=1.2,
            capsize=2.5,
            markersize=5.5,
        )


def _label(row: RowScores) -> str:
    name = row.name if len(row.name) <= _LONGEST_NAME else f"{row.name[: _LONGEST_NAME - 1]}…"
    return f"{name} (masks used)" if row.learns_from == "masks" else name
