"""Line plots and dot plots, drawn by matplotlib.

`line_figure` and `dot_figure` draw a figure, for PNG files too; `line_plot` and `dot_plot` return
the same figures as inline SVG for pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tag2mask.report.page import Svg
from tag2mask.report.plot_figure import (
    GROUND,
    INK,
    MUTED,
    RULE,
    SERIES_COLORS,
    PlotFigure,
    inline_svg,
)

NO_VALUES = Markup('<p class="note">no values</p>')

_FONT_SIZE = 12.0
_ROW_HEIGHT = 26
_LONGEST_NAME = 34


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Attributes:
        name: tooltip of the line, and its entry in a legend.
        x, y: float (n,), x rising; NaN in y leaves a gap.
        marks: (x, y, tooltip) of points to emphasize.
        color: index of the color.
        faint: True draws it thin and pale (raw values behind their running mean).
        dashed: True draws a dashed line.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    marks: tuple[tuple[float, float, str], ...] = ()
    color: int = 0
    faint: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """One dot of a dot plot.

    Attributes:
        value: its position on the x axis.
        spread: half the length of its error bar; None: no bar.
        text: tooltip.
        color: index of the color.
        hollow: True draws an outline only.
    """

    value: float
    spread: float | None
    text: str
    color: int = 0
    hollow: bool = False


def line_plot(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    size: tuple[int, int] = (680, 300),
    y_from_zero: bool = False,
) -> Svg:
    """Return lines over shared axes as inline SVG.

    Args:
        series: the lines, drawn in this order.
        x_label: name of the x axis, with its unit.
        y_label: the same for the y axis; empty: none.
        size: (width, height) in px; the page scales it.
        y_from_zero: True includes 0 in the y axis.

    Returns:
        An ``<svg>`` element, or "no values" where nothing is finite.
    """
    finite = [one for one in series if np.isfinite(one.y).any()]
    if not finite:
        return NO_VALUES
    figure = line_figure(
        finite, x_label=x_label, y_label=y_label, size=size, y_from_zero=y_from_zero
    )
    names = ", ".join(one.name for one in finite if not one.faint)
    return inline_svg(figure, f"{y_label} over {x_label}: {names}")


def line_figure(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    size: tuple[int, int],
    y_from_zero: bool = False,
) -> PlotFigure:
    """Draw lines over shared axes; arguments as of `line_plot`."""
    figure, axes = _figure(size)
    for one in series:
        color = SERIES_COLORS[one.color % len(SERIES_COLORS)]
        (line,) = axes.plot(
            one.x,
            one.y,
            color=color,
            linewidth=1 if one.faint else 2,
            alpha=0.3 if one.faint else None,
            linestyle="--" if one.dashed else "-",
            label=one.name,
            clip_on=False,
        )
        figure.describe(line, f"line s{one.color % len(SERIES_COLORS)}", one.name)
    for one in series:
        for x, y, text in one.marks:
            _mark(figure, axes, x, y, text, one.color)
    axes.set_xmargin(0)
    if y_from_zero:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0.0), max(high, 0.0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y", color=RULE, linewidth=1, clip_on=False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure


def dot_plot(rows: Sequence[tuple[str, Sequence[Dot]]], *, x_label: str) -> Svg:
    """Return one row of dots per name, over one x axis, as inline SVG.

    Args:
        rows: name and dots of each row, from the top; dots of one color share a height.
        x_label: name of the x axis, with its unit.

    Returns:
        An ``<svg>`` element, or "no values" where there is no dot.
    """
    if not any(dots for _, dots in rows):
        return NO_VALUES
    names = ", ".join(name for name, _ in rows)
    return inline_svg(dot_figure(rows, x_label=x_label), f"{x_label}: {names}")


def dot_figure(rows: Sequence[tuple[str, Sequence[Dot]]], *, x_label: str) -> PlotFigure:
    """Draw one row of dots per name; arguments as of `dot_plot`."""
    figure, axes = _figure((760, 54 + _ROW_HEIGHT * len(rows)))
    colors = sorted({dot.color for _, dots in rows for dot in dots})
    for place, (_, dots) in enumerate(rows):
        # Filled dots over hollow ones, where they meet.
        for dot in sorted(dots, key=lambda dot: not dot.hollow):
            shift = 0.3 * (colors.index(dot.color) - (len(colors) - 1) / 2)
            _error_bar(figure, axes, dot, place + shift)
            _mark(figure, axes, dot.value, place + shift, dot.text, dot.color, dot.hollow)
    names = [_shortened(name) for name, _ in rows]
    axes.set_yticks(range(len(rows)), names)
    for label, (name, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(INK)
        label.set_parse_math(False)
        figure.describe(label, "name", name)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="x", color=RULE, linewidth=1, clip_on=False)
    axes.set_xlabel(x_label)
    return figure


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the centered mean over ``window`` values, fewer at the ends; NaN are ignored."""
    assert window >= 1
    present = np.isfinite(values)
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(np.where(present, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(present)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    count = counts[last] - counts[first]
    out = np.full(len(values), np.nan)
    np.divide(sums[last] - sums[first], count, out=out, where=count > 0)
    return out


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = 300
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most ``most`` evenly spaced points, with the first and the last."""
    if len(x) <= most:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, most).round().astype(int))
    return x[kept], y[kept]


def _figure(size: tuple[int, int]) -> tuple[PlotFigure, Axes]:
    """Return an empty figure and its axes, in the page's style."""
    figure = PlotFigure(size)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(left=False, bottom=False, labelcolor=MUTED, labelsize=_FONT_SIZE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=MUTED, size=_FONT_SIZE)
    axes.ticklabel_format(useOffset=False)
    return figure, axes


def _shortened(name: str) -> str:
    """Return a name with its middle cut out where it is too long for a label."""
    kept = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: kept - 1]}…{name[-kept:]}"


def _mark(
    figure: PlotFigure, axes: Axes, x: float, y: float, text: str, color: int, hollow: bool = False
) -> None:
    number = color % len(SERIES_COLORS)
    own = SERIES_COLORS[number]
    (mark,) = axes.plot(
        x,
        y,
        "o",
        markersize=9,
        markerfacecolor=GROUND if hollow else own,
        markeredgecolor=own if hollow else GROUND,
        markeredgewidth=1.8 if hollow else 1.5,
        clip_on=False,
        zorder=3,
    )
    figure.describe(mark, f"{'hollow' if hollow else 'mark'} s{number}", text)


def _error_bar(figure: PlotFigure, axes: Axes, dot: Dot, y: float) -> None:
    if dot.spread is None:
        return
    number = dot.color % len(SERIES_COLORS)
    ends = (dot.value - dot.spread, dot.value + dot.spread)
    (bar,) = axes.plot(ends, (y, y), color=SERIES_COLORS[number], linewidth=2, clip_on=False)
    figure.describe(bar, f"line s{number}", dot.text)
