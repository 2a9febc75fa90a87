"""Line plots as small inline SVG.

Drawn by hand rather than by a plotting library: colors are the page's own variables, so a plot
follows light and dark mode; the text stays text; a plot is a few kilobytes and the same for the
same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

Svg = Markup
"""A drawing, safe to be put into the page as it is."""

SERIES_COLORS = 8
"""Colors that the page's style defines; more series start over."""

_RIGHT, _TOP, _BOTTOM = 12, 10, 38
_DIGIT = 7
"""Width of a tick's digit, in units of the drawing."""


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Attributes:
        name: shown when the pointer rests on it.
        x, y: float (n,), x rising; NaN in y leaves a gap.
        marks: (x, y, text) of points to stress; the text shows on the pointer.
        color: index of the color.
        faint: True draws it thin and pale (raw values behind their running mean).
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    marks: tuple[tuple[float, float, str], ...] = ()
    color: int = 0
    faint: bool = False


def line_plot(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    size: tuple[int, int] = (680, 300),
    y_from_zero: bool = False,
) -> Svg:
    """Draw lines over shared axes.

    Args:
        series: the lines, drawn in this order.
        x_label: name of the x axis, with its unit.
        y_label: the same of the y axis; empty: none.
        size: (width, height) of the drawing, in its own units; the page scales it.
        y_from_zero: True begins the y axis at 0.

    Returns:
        An ``<svg>`` element; "no values" where nothing is finite.
    """
    finite = [s for s in series if np.isfinite(s.y).any()]
    width, height = size
    if not finite:
        return Markup('<p class="note">no values</p>')
    low = min(float(np.nanmin(s.y)) for s in finite)
    y_ticks = nice_ticks(
        min(low, 0.0) if y_from_zero else low, max(float(np.nanmax(s.y)) for s in finite)
    )
    # The x axis ends with the data, whatever the next round number is.
    x_range = (min(float(s.x[0]) for s in finite), max(float(s.x[-1]) for s in finite))
    x_ticks = nice_ticks(*x_range)
    left = (18 if y_label else 0) + 8 + _DIGIT * max(len(f"{tick:g}") for tick in y_ticks)
    frame = _Frame(
        (left, width - _RIGHT), (_TOP, height - _BOTTOM), x_range, (y_ticks[0], y_ticks[-1])
    )
    parts = [frame.grid(x_ticks, y_ticks, x_label, y_label)]
    parts += [frame.line(s) for s in finite]
    parts += [frame.marks(s) for s in finite]
    label = escape(f"{y_label} over {x_label}: {', '.join(s.name for s in finite if not s.faint)}")
    return Markup(
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred mean over ``window`` values, shorter at the ends; NaN are left out."""
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
    """At most ``most`` evenly spaced points, the first and the last among them."""
    if len(x) <= most:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, most).round().astype(int))
    return x[kept], y[kept]


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2, 2.5, 5 times a power of ten) that enclose [low, high]."""
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-200):  # floats can't part it evenly
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / (most - 1)
    exponent = math.floor(math.log10(rough))
    power = 10.0**exponent
    step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 2 - exponent) for i in range(first, last + 1)]


class _Frame:
    """Axes of one plot: from values to places in the drawing."""

    def __init__(
        self,
        across: tuple[int, int],
        down: tuple[int, int],
        x_range: tuple[float, float],
        y_range: tuple[float, float],
    ) -> None:
        self.left, self.right = across
        self.top, self.bottom = down
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        low, high = self.x_range
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(self.bottom - (value - low) / (high - low) * (self.bottom - self.top), 1)

    def grid(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
    ) -> str:
        parts = []
        for tick in y_ticks:
            y = self.y(tick)
            parts.append(
                f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y}" '
                f'y2="{y}"/><text class="tick" x="{self.left - 6}" y="{y + 4}" '
                f'text-anchor="end">{tick:g}</text>'
            )
        low, high = self.x_range
        slack = (high - low) * 1e-9
        for tick in x_ticks:
            if low - slack <= tick <= high + slack:
                parts.append(
                    f'<text class="tick" x="{self.x(tick)}" y="{self.bottom + 17}" '
                    f'text-anchor="middle">{tick:g}</text>'
                )
        middle = (self.left + self.right) / 2
        parts.append(
            f'<text class="axis" x="{middle:g}" y="{self.bottom + 34}" '
            f'text-anchor="middle">{escape(x_label)}</text>'
        )
        if y_label:
            middle = (self.top + self.bottom) / 2
            parts.append(
                f'<text class="axis" transform="translate(12 {middle:g}) rotate(-90)" '
                f'text-anchor="middle">{escape(y_label)}</text>'
            )
        return "".join(parts)

    def line(self, series: Series) -> str:
        kind = "line faint" if series.faint else "line"
        pieces, pen = [], "M"
        for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True):
            if not math.isfinite(y):
                pen = "M"
                continue
            pieces.append(f"{pen}{self.x(x):g} {self.y(y):g}")
            pen = "L"
        return (
            f'<path class="{kind} s{series.color % SERIES_COLORS}" d="{"".join(pieces)}">'
            f"<title>{escape(series.name)}</title></path>"
        )

    def marks(self, series: Series) -> str:
        return "".join(
            f'<circle class="mark s{series.color % SERIES_COLORS}" cx="{self.x(x)}" '
            f'cy="{self.y(y)}" r="4.5"><title>{escape(text)}</title></circle>'
            for x, y, text in series.marks
        )
