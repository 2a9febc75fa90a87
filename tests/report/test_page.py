"""The HTML page: every block is rendered, every name escaped, and scores are formatted."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from blocks_page import EVIL, LONG, page_of_all_blocks
from PIL import Image

from tag2mask.evaluation.wording import percent, with_unit
from tag2mask.report.page import (
    Cell,
    Column,
    Figures,
    Gallery,
    Note,
    Page,
    PageSection,
    PageTable,
    PhotoRow,
    difference,
    jpeg_uri,
    layer,
    picture,
    plain_photo,
    render,
)
from tag2mask.report.plot_figure import PlotFigure, inline_svg

pytestmark = pytest.mark.smoke


def test_names_never_become_markup() -> None:
    html = render(page_of_all_blocks())
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert LONG in html


def test_sections_without_blocks_are_left_out() -> None:
    html = render(page_of_all_blocks())
    assert 'id="all"' in html and 'id="none"' not in html


def test_tags_are_balanced() -> None:
    stack: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attributes) -> None:
            if tag not in ("meta", "link", "img", "input"):
                stack.append(tag)

        def handle_startendtag(self, tag, attributes) -> None:
            pass

        def handle_endtag(self, tag) -> None:
            assert stack.pop() == tag

    Balance().feed(render(page_of_all_blocks()))
    assert stack == []


def test_long_tables_are_folded() -> None:
    assert "30 more rows" in render(page_of_all_blocks())


def test_rows_in_the_middle_of_a_very_long_table_are_left_out() -> None:
    rows = tuple((f"class {i}",) for i in range(5000))
    table = PageTable((Column("class", numeric=False),), rows)
    html = render(Page("", "", (PageSection("a", "A", (table,)),)))
    assert "4970 more rows, of which the first 150 and the last 150 are shown" in html
    assert html.count("<td") == 330
    assert all(f">class {i}<" in html for i in (0, 179, 4850, 4999))
    assert not any(f">class {i}<" in html for i in (180, 4849))


def test_a_photo_is_embedded_once_however_many_layers_it_has() -> None:
    image = Image.effect_noise((60, 40), 90).convert("RGB")
    clear = Image.new("RGBA", (6, 4), (255, 0, 0, 90))
    pictures = (
        plain_photo("photo", image.size),
        layer("mask", clear, image.size, "photo"),
        layer("heat", clear, image.size, "dark"),
    )
    row = PhotoRow("a", "", (), pictures, jpeg_uri(image))
    html = render(Page("", "", (PageSection("a", "A", (Gallery("", (row,)),)),)))
    assert html.count(jpeg_uri(image)) == 1 == html.count("data:image/jpeg")
    assert html.count('<input type="checkbox"') == html.count("<img") == 3
    assert html.count('class="over-photo"') == 2 and html.count('class="over-dark"') == 1
    assert html.count('width="60" height="40" style="--ratio: 1.50000"') == 3


def test_every_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(AssertionError):
        PageTable((Column("a"), Column("b")), (("1",),))


def test_an_embedded_picture_can_be_read_back() -> None:
    image = Image.fromarray(np.full((30, 50, 3), (200, 60, 20), np.uint8))
    embedded = picture("photo", image)
    assert (embedded.width, embedded.height) == (50, 30)
    kind, content = embedded.uri.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as read:
        assert read.size == (50, 30)
        assert np.abs(np.asarray(read).astype(int) - (200, 60, 20)).max() < 6


def test_the_title_is_text() -> None:
    assert f"<title>tag2mask {EVIL}" not in render(page_of_all_blocks())


@pytest.mark.parametrize(("share", "text"), [(0.5541, "55.4"), (1.0, "100.0"), (None, "–")])
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text
    assert with_unit(share).rstrip("%").strip() == text


@pytest.mark.parametrize(
    ("share", "reference", "cell"),
    [
        (0.554, 0.474, Cell("+8.0", tone="good")),
        (0.474, 0.554, Cell("−8.0", tone="bad")),
        (0.5, 0.50001, Cell("0.0", tone="muted")),
        (None, 0.5, Cell("–", tone="muted")),
    ],
)
def test_difference(share: float | None, reference: float | None, cell: Cell) -> None:
    assert difference(share, reference) == cell


def test_names_are_shown_as_they_are() -> None:
    name = "<script>alert(1)</script>\u202e\x1b[2J$x$"
    figure = PlotFigure((200, 100))
    axes = figure.add_subplot()
    axes.set_title(name)
    axes.set_xlabel(r"$\frac{$")
    plot = inline_svg(figure, name)
    section = PageSection(name, name, (Note(name), Figures(((name, plot),), caption=name)), name)
    html = render(Page(name, name, (section,), name))
    assert "<script" not in html
    assert not set("\u202e\x1b") & set(html)
    assert html.count(r"&lt;script&gt;alert(1)&lt;/script&gt;\u202e\x1b[2J$x$") >= 9
    assert r"$\frac{$" in html
