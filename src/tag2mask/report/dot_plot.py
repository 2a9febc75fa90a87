"""Dots along one axis, a line a row, as small inline SVG; see ``plots`` for why by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tag2mask.report.plots import SERIES_COLORS, Svg, nice_ticks

_WIDTH, _RIGHT, _TOP, _BOTTOM, _LINE = 760, 14, 6, 40, 26
_LETTER = 6.6
"""Width of a letter of a row's name, in units of the drawing."""
_LONGEST_NAME = 34


@dataclass(frozen=True)
class Dot:
    """One dot.

    Attributes:
        value: where it lies.
        spread: half the length of its bar; None: no bar.
        text: shown when the pointer rests on it.
        color: index of the color.
        hollow: True draws an outline alone.
    """

    value: float
    spread: float | None
    text: str
    color: int = 0
    hollow: bool = False


def dot_plot(rows: Sequence[tuple[str, Sequence[Dot]]], *, x_label: str) -> Svg:
    """Draw each row's dots on a line of its own, over one axis.

    Args:
        rows: name and dots of each, from the top; the dots of one color share a height.
        x_label: name of the axis, with its unit.

    Returns:
        An ``<svg>`` element; "no values" where there is no dot.
    """
    dots = [dot for _, row in rows for dot in row]
    if not dots:
        return Markup('<p class="note">no values</p>')
    ticks = nice_ticks(
        min(dot.value - (dot.spread or 0) for dot in dots),
        max(dot.value + (dot.spread or 0) for dot in dots),
    )
    colors = sorted({dot.color for dot in dots})
    names = [
        name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name, _ in rows
    ]
    left = round(12 + _LETTER * max(map(len, names)))
    bottom = _TOP + _LINE * len(rows)

    def x(value: float) -> float:
        return round(
            left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_WIDTH - _RIGHT - left), 1
        )

    parts = [_axis(ticks, x, bottom, left, x_label)]
    for place, (name, own) in enumerate(rows):
        middle = _TOP + _LINE * (place + 0.5)
        parts.append(
            f'<text class="name" x="{left - 10}" y="{middle + 4:g}" text-anchor="end">'
            f"{escape(names[place])}<title>{escape(name)}</title></text>"
        )
        # Filled dots over hollow ones, where they meet.
        for dot in sorted(own, key=lambda dot: not dot.hollow):
            shift = 8 * (colors.index(dot.color) - (len(colors) - 1) / 2)
            parts.append(_mark(dot, x, middle + shift))
    label = escape(f"{x_label}: {', '.join(name for name, _ in rows)}")
    return Markup(
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {bottom + _BOTTOM}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _axis(
    ticks: Sequence[float], x: Callable[[float], float], bottom: int, left: int, label: str
) -> str:
    lines = [
        f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{_TOP}" y2="{bottom}"/>'
        f'<text class="tick" x="{x(tick)}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    ]
    middle = (left + _WIDTH - _RIGHT) / 2
    return "".join(lines) + (
        f'<text class="axis" x="{middle:g}" y="{bottom + 34}" '
        f'text-anchor="middle">{escape(label)}</text>'
    )


def _mark(dot: Dot, x: Callable[[float], float], y: float) -> str:
    color = f"s{dot.color % SERIES_COLORS}"
    title = f"<title>{escape(dot.text)}</title>"
    bar = (
        ""
        if dot.spread is None
        else (
            f'<path class="line {color}" d="M{x(dot.value - dot.spread):g} {y:g}'
            f'L{x(dot.value + dot.spread):g} {y:g}">{title}</path>'
        )
    )
    kind = "hollow" if dot.hollow else "mark"
    return bar + (
        f'<circle class="{kind} {color}" cx="{x(dot.value)}" cy="{y:g}" r="4.5">{title}</circle>'
    )
