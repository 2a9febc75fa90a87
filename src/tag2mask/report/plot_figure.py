"""Figures of matplotlib with tooltips, as inline SVG for pages and as PNG for files.

Figures are drawn in the colors of the page's light mode; `inline_svg` replaces each of them by the
page's CSS variable, so that a plot follows light and dark mode. Text stays text, and the same
numbers give the same SVG.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import matplotlib
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from tag2mask.report.page import Svg
from tag2mask.text.escaping import visible

SERIES_COLORS = (
    "#1f6f8b",
    "#c8602f",
    "#4c8a4f",
    "#8a5aa3",
    "#b58a12",
    "#c0507a",
    "#5a6f86",
    "#7c6a4f",
)
"""Colors of the series, as ``--s0`` to ``--s7`` in the page's style; more series start over."""
GROUND, INK, MUTED, RULE = "#fbfbfa", "#1d1c1b", "#6d6a66", "#e4e2de"
"""Background, names, axis texts and grid lines, as in the page's style."""

_VARIABLES = {
    **{color: f"var(--s{number})" for number, color in enumerate(SERIES_COLORS)},
    GROUND: "var(--ground)",
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
}


class PlotFigure(Figure):
    """A figure whose artists have tooltips.

    Attributes:
        tooltips: (CSS classes, text) by the artist's gid.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """Make an empty figure of (width, height) in px."""
        super().__init__(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        FigureCanvasAgg(self)  # No pyplot: it keeps global state and looks for a display.
        self.tooltips: dict[str, tuple[str, str]] = {}

    def describe(self, artist: Artist, kind: str, text: str) -> None:
        """Give an artist the CSS classes and the tooltip that `inline_svg` writes."""
        key = f"tooltip-{len(self.tooltips)}"
        self.tooltips[key] = (kind, text)
        artist.set_gid(key)


def inline_svg(figure: PlotFigure, label: str) -> Svg:
    """Return a figure as an ``<svg>`` element for the page.

    Args:
        figure: drawn in the colors of this module.
        label: text for readers who can't see the plot.
    """
    _show_texts_as_they_are(figure)
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tag2mask"}):
        figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    svg = buffer.getvalue()
    viewed = re.search(r'viewBox="([^"]*)"', svg)
    assert viewed is not None
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    # A style element would apply to the complete page.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S).replace("xlink:href", "href")
    # The page's own font is narrower than the one that the layout was computed for.
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), body)
    for key, (kind, text) in figure.tooltips.items():
        title = f'<g class="{kind}"><title>{escape(visible(text))}</title>'
        body = body.replace(f'<g id="{key}">', title)
    # matplotlib numbers its groups per figure; ids that are referred to get the figure's own name.
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    name = hashlib.sha256(body.encode()).hexdigest()[:8]
    body = re.sub(r'(\bid="|href="#)(?=[a-z][0-9a-f]+")', rf"\1p{name}-", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><")
    return Markup(
        f'<svg class="plot" viewBox="{viewed[1]}" role="img" '
        f'aria-label="{escape(visible(label))}">{body}</svg>'
    )


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, twice the size that it has in the page."""
    _show_texts_as_they_are(figure)
    figure.savefig(path, dpi=144, format="png")


def _show_texts_as_they_are(figure: Figure) -> None:
    """Keep matplotlib from reading names between dollar signs as formulas."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(visible(text.get_text(), lines=True))
