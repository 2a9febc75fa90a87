"""Plots: valid, reproducible SVG with labels and tooltips, in the colors of the page."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.report.plot_figure import GROUND, INK, MUTED, RULE, SERIES_COLORS, save_png
from tag2mask.report.plots import (
    Dot,
    Series,
    dot_plot,
    line_figure,
    line_plot,
    running_mean,
    thinned,
)


def texts(svg: str) -> list[str]:
    """Return all texts of a plot, tooltips included."""
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def points(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """Return the points of each piece of the lines with a CSS class."""
    pieces = []
    for group in ElementTree.fromstring(svg).iter("g"):
        if group.get("class") == kind:
            (path,) = group.findall("path")
            for piece in path.attrib["d"].split("M")[1:]:
                found = re.findall(r"([-\d.]+) ([-\d.]+)", piece)
                pieces.append([(float(x), float(y)) for x, y in found])
    return pieces


def marks(svg: str) -> list[tuple[str, float, float]]:
    """Return the CSS classes and the center of each mark."""
    found = []
    for group in ElementTree.fromstring(svg).iter("g"):
        if group.get("class", "").startswith(("mark", "hollow")):
            (use,) = group.iter("use")
            found.append((group.attrib["class"], float(use.attrib["x"]), float(use.attrib["y"])))
    return found


def test_larger_values_are_further_right_and_higher() -> None:
    x = np.array([0.0, 1.0, 2.0])
    svg = line_plot([Series("s", x, np.array([1.0, 3.0, 2.0]))], x_label="x", y_label="y")
    [[(x0, y0), (x1, y1), (x2, y2)]] = points(svg, "line s0")
    assert x0 < x1 < x2 and x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 < y2 < y0, "the y axis of an SVG points down"


def test_names_are_escaped_and_present_as_text() -> None:
    x = np.arange(5.0)
    series = [
        Series('<b> & "c" $x$', x, x, ((2.0, 2.0, "<mark>"),)),
        Series("two", x, -x, color=11),
    ]
    svg = line_plot(series, x_label="<x>", y_label="y & z")
    assert {"<x>", "y & z", "<mark>", '<b> & "c" $x$', "two"} <= set(texts(svg))
    assert len(points(svg, "line s0")) == len(points(svg, f"line s{11 % 8}")) == 1


def test_missing_values_leave_a_gap() -> None:
    y = np.array([1.0, 2.0, np.nan, 2.0, 3.0])
    svg = line_plot([Series("s", np.arange(5.0), y)], x_label="x", y_label="y")
    assert [len(piece) for piece in points(svg, "line s0")] == [2, 2]


def test_without_any_finite_value() -> None:
    nothing = Series("s", np.arange(3.0), np.full(3, np.nan))
    assert "no values" in line_plot([nothing], x_label="x", y_label="y")
    assert "no values" in line_plot([], x_label="x", y_label="y")
    assert "no values" in dot_plot([("a", [])], x_label="x")


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-8, 5e-324, 1e300])
def test_one_point_is_drawn(value: float) -> None:
    series = Series("s", np.array([10.0]), np.array([value]), ((10.0, value, "here"),))
    [(kind, x, y)] = marks(line_plot([series], x_label="x", y_label="y"))
    assert kind == "mark s0" and 0 < x < 680 and 0 < y < 300


def test_the_y_axis_can_begin_at_zero() -> None:
    series = Series("s", np.array([1.0, 2.0, 3.0]), np.array([50.0, 51.0, 52.0]))
    assert "0" not in texts(line_plot([series], x_label="x", y_label=""))
    assert "0" in texts(line_plot([series], x_label="x", y_label="", y_from_zero=True))


def test_the_same_values_give_the_same_text() -> None:
    def drawn(scale: float) -> str:
        series = Series("s", np.arange(9.0), scale * np.sqrt(np.arange(9.0)), ((1.0, 1.0, "m"),))
        return line_plot([series], x_label="x", y_label="y")

    assert drawn(1.0) == drawn(1.0) != drawn(2.0)


def test_ids_of_different_plots_differ_and_every_reference_has_a_target() -> None:
    plots = [
        line_plot(
            [Series(name, np.arange(3.0), np.arange(3.0), ((1.0, 1.0, ""),))],
            x_label="x",
            y_label="",
        )
        for name in ("a", "b")
    ]
    ids = [re.findall(r'\bid="([^"]*)"', svg) for svg in plots]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    for svg, own in zip(plots, ids, strict=True):
        assert len(own) == len(set(own))
        assert set(re.findall(r'href="#([^"]*)"', svg)) == set(own)


def test_plots_have_no_colors_nor_style_of_their_own() -> None:
    x = np.arange(3.0)
    lines = [
        Series("s", x, x * number, ((1.0, 1.0, ""),), color=number, faint=number == 1)
        for number in range(8)
    ]
    dots = [Dot(1.0, 0.5, "a"), Dot(2.0, None, "b", hollow=True)]
    for svg in (line_plot(lines, x_label="x", y_label="y"), dot_plot([("r", dots)], x_label="x")):
        assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'href="#[^"]*"', "", svg))
        assert "<style" not in svg and "url(" not in svg and "font-family" not in svg


def test_colors_are_those_of_the_page_in_light_mode() -> None:
    style = (resources.files("tag2mask.report") / "templates" / "style.css").read_text("utf-8")
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", style.split("@media", 1)[0]))
    assert tuple(light[f"s{number}"] for number in range(8)) == SERIES_COLORS
    assert [light[name] for name in ("ground", "ink", "muted", "rule")] == [
        GROUND,
        INK,
        MUTED,
        RULE,
    ]


def test_dots_are_placed_by_value_and_row() -> None:
    svg = dot_plot(
        [
            ("a", [Dot(10.0, 1.0, "ten"), Dot(12.0, None, "twelve", hollow=True)]),
            ("b", [Dot(20.0, None, "twenty", color=1)]),
        ],
        x_label="mIoU, %",
    )
    (hollow, x12, y12), (filled, x10, y10), (second, x20, y20) = marks(svg)
    assert x10 < x12 < x20 and y10 == y12 < y20
    assert (x20 - x12) / (x12 - x10) == pytest.approx(4, rel=0.02)
    [[(left, _), (right, _)]] = points(svg, "line s0")
    assert left < x10 < right
    assert (hollow, filled, second) == ("hollow s0", "mark s0", "mark s1")
    assert {"ten", "twelve", "twenty", "a", "b", "mIoU, %"} <= set(texts(svg))


def test_dots_of_two_colors_are_apart() -> None:
    svg = dot_plot([("a", [Dot(1.0, None, "", color=0), Dot(1.0, None, "", color=1)])], x_label="x")
    (_, x0, y0), (_, x1, y1) = marks(svg)
    assert x0 == x1 and abs(y0 - y1) >= 5


def test_a_long_name_is_cut_and_complete_in_its_tooltip() -> None:
    name = "<a> $very$ " * 9
    found = texts(dot_plot([(name, [Dot(1.0, None, "")])], x_label="x"))
    assert name in found and f"{name[:16]}…{name[-17:]}" in found


def test_a_png_of_the_same_figure(tmp_path: Path) -> None:
    series = Series("s", np.arange(3.0), np.arange(3.0))
    figure = line_figure([series], x_label="x", y_label="y", size=(320, 200))
    save_png(figure, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size == (640, 400)


def test_running_mean() -> None:
    values = np.array([1.0, 2.0, 6.0, np.nan, 4.0])
    assert running_mean(values, 1)[:3].tolist() == [1, 2, 6]
    smooth = running_mean(values, 3)
    assert smooth.tolist() == pytest.approx([1.5, 3.0, 4.0, 5.0, 4.0])
    assert np.isnan(running_mean(np.full(3, np.nan), 3)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 900), st.integers(2, 50))
def test_thinning_keeps_order_and_ends(count: int, most: int) -> None:
    x = np.arange(float(count))
    kept, values = thinned(x, 2 * x, most)
    assert len(kept) <= most or count <= most
    assert kept[0] == 0 and kept[-1] == count - 1
    assert (np.diff(kept) > 0).all() and (values == 2 * kept).all()
