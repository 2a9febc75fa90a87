"""The HTML page: sections of blocks, rendered into one self-contained file.

A section is a title and blocks: cards, tables, figures, photos, folded text. A new section is a
function that returns a `PageSection`; templates and style need no change. Images are data URIs, the
style is inline and there is no script, so the page works offline and from the file system. Jinja
escapes every name; only figures drawn by ``plots`` are inserted as markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar, Literal, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from tag2mask.text.escaping import visible

Svg = Markup
"""An ``<svg>`` element, inserted into the page without escaping."""


@dataclass(frozen=True)
class Card:
    """One key number.

    Attributes:
        label: what is measured.
        value: the number as shown, with its unit.
        detail: what it was measured on: split, photos, tags, threshold and its source.
    """

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """A table cell with more than text.

    Attributes:
        text: the text shown.
        bar: length of a bar next to the text, in [0, 1]; None: no bar.
        heat: strength of the background color, in [0, 1]; None: none.
        swatch: ``#rrggbb`` of a class, shown as a small square.
        tone: better or worse than the reference, or less important.
        title: tooltip.
    """

    text: str
    bar: float | None = None
    heat: float | None = None
    swatch: str | None = None
    tone: Literal["", "good", "bad", "muted"] = ""
    title: str = ""


@dataclass(frozen=True)
class Column:
    """A table column; numeric ones are aligned right."""

    title: str
    numeric: bool = True
    wide: bool = False
    """True: takes the remaining width (bars, long text)."""


class Block(Protocol):
    """A part of a section; ``kind`` names its macro in ``blocks.html.j2``."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Cards:
    """Key numbers side by side."""

    cards: tuple[Card, ...]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class PageTable:
    """A table; rows after ``unfolded`` are folded away."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    caption: str = ""
    unfolded: int = 30
    matrix: bool = False
    """True: a dense table of shaded cells with slanted column headings."""
    kind: ClassVar[str] = "table"
    folded: ClassVar[int] = 300
    """Rows folded away, at most; of longer tables those in the middle are left out."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)


@dataclass(frozen=True)
class Figures:
    """Plots side by side, with one legend.

    Attributes:
        figures: (title, drawing) each.
        legend: names of the series, in the order of their colors; one name or none: no legend.
        caption: text below all figures.
        title: heading above all figures.
    """

    figures: tuple[tuple[str, Svg], ...]
    legend: tuple[str, ...] = ()
    caption: str = ""
    title: str = ""
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Picture:
    """One picture of a photo.

    Attributes:
        caption: text below it.
        uri: the image, a data URI.
        width: px; with ``height``, also of a stretched layer, the shape in which it is shown.
        height: px.
        over: what it is laid over: nothing, or the photo of its row, plain or darkened.
    """

    caption: str
    uri: str
    width: int
    height: int
    over: Literal["", "photo", "dark"] = ""


@dataclass(frozen=True)
class PhotoRow:
    """Pictures of one photo, side by side.

    Attributes:
        title: the photo's id.
        detail: its score.
        classes: (name, ``#rrggbb``) of the classes shown.
        pictures: the photo, maps and masks of each run, ground truth.
        photo: data URI of the photo that pictures are laid over, embedded once; empty: none is.
    """

    title: str
    detail: str
    classes: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    photo: str = ""


@dataclass(frozen=True)
class Gallery:
    """Photos under one heading."""

    title: str
    rows: tuple[PhotoRow, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Advice:
    """What is wrong, what to do, and what that takes.

    Attributes:
        findings: what was found, the next step and its cost, each.
        caption: text below them.
    """

    findings: tuple[tuple[str, str, str], ...]
    caption: str = ""
    kind: ClassVar[str] = "advice"


@dataclass(frozen=True)
class Folded:
    """Preformatted text, folded under a heading."""

    summary: str
    text: str
    kind: ClassVar[str] = "folded"


@dataclass(frozen=True)
class Preformatted:
    """Text to be copied, such as a command."""

    text: str
    kind: ClassVar[str] = "preformatted"


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class PageSection:
    """A part of the page.

    Attributes:
        anchor: HTML id.
        title: heading.
        blocks: the content, in this order.
        intro: one or two sentences on how to read it.
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    intro: str = ""


@dataclass(frozen=True)
class Page:
    """A page; sections without blocks are left out."""

    title: str
    subtitle: str
    sections: tuple[PageSection, ...]
    footer: str = ""


def render(page: Page) -> str:
    """Return the page as one HTML document without any reference to another file."""
    environment = Environment(
        loader=PackageLoader("tag2mask.report"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("tag2mask.report") / "templates" / "style.css"
    shown = [section for section in page.sections if section.blocks]
    return environment.get_template("page.html.j2").render(
        page=page, sections=shown, style=style.read_text(encoding="utf-8")
    )


def _visible(value: object) -> object:
    """Return what the page shows of a value: hidden characters of texts become escapes."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, lines=True)
    return value


def picture(caption: str, image: Image.Image) -> Picture:
    """Embed an RGB image as JPEG."""
    return Picture(caption, jpeg_uri(image), image.width, image.height)


def layer(
    caption: str, image: Image.Image, size: tuple[int, int], over: Literal["photo", "dark"]
) -> Picture:
    """Embed an RGBA image as PNG, to be laid over a row's photo of ``size`` (width, height)."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return Picture(caption, _data_uri("png", buffer), *size, over)


def plain_photo(caption: str, size: tuple[int, int]) -> Picture:
    """Return the photo of a row of ``size`` (width, height), with nothing over it."""
    return layer(caption, Image.new("RGBA", (1, 1)), size, "photo")


def jpeg_uri(image: Image.Image) -> str:
    """Return the data URI of an RGB image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=84, optimize=True)
    return _data_uri("jpeg", buffer)


def _data_uri(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def hex_color(rgb: Sequence[int]) -> str:
    """Return ``#rrggbb`` of RGB 0..255."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def difference(
    share: float | None, reference: float | None, interval: tuple[float, float] | None = None
) -> Cell:
    """Return the difference of two shares in percentage points, with a sign and a tone.

    Args:
        share: a share.
        reference: what it is compared with.
        interval: 95 % interval of the difference, shown; if it contains 0, there is no tone.
    """
    if share is None or reference is None:
        return Cell("–", tone="muted")
    points = round(100.0 * (share - reference), 1)
    tone: Literal["good", "bad", "muted"] = (
        "muted" if points == 0 else "good" if points > 0 else "bad"
    )
    text = _signed(points)
    if interval is not None:
        low, high = (round(100.0 * end, 1) for end in interval)
        text += f" ({_signed(low)} to {_signed(high)})"
        tone = "muted" if low <= 0 <= high else tone
    return Cell(text, tone=tone)


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−") if points else "0.0"
