"""Plots put each value at its place, on round ticks, whatever the values are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tag2mask.report.plots import Series, line_plot, nice_ticks, running_mean, thinned

finite = st.floats(-1e6, 1e6, allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(finite, finite)
@example(0.0, 2e-13)
@example(0.0, 5e-324)
@example(1e6, 1e6 + 1e-9)
def test_ticks_enclose_the_range_in_equal_round_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(high - low, abs(low), 1e-9)
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-8])
def test_a_single_value_has_room_around_it(value: float) -> None:
    ticks = nice_ticks(value, value)
    assert ticks[0] < value < ticks[-1]


def path_points(svg: str) -> list[tuple[float, float]]:
    drawn = re.search(r' d="([^"]*)"', svg)
    assert drawn is not None
    numbers = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", drawn[1])
    return [(float(x), float(y)) for x, y in numbers]


def test_larger_values_lie_further_right_and_higher() -> None:
    x = np.array([0.0, 1.0, 2.0])
    svg = line_plot([Series("s", x, np.array([1.0, 3.0, 2.0]))], x_label="x", y_label="y")
    (x0, y0), (x1, y1), (x2, y2) = path_points(svg)
    assert x0 < x1 < x2 and x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 < y2 < y0, "the y axis of a drawing points down"


def test_drawings_are_whole_and_escaped() -> None:
    x = np.arange(5.0)
    series = [Series('<b> & "c"', x, x, ((2.0, 2.0, "<mark>"),)), Series("two", x, -x, color=11)]
    svg = line_plot(series, x_label="<x>", y_label="y & z")
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter() if element.text]
    assert "<x>" in texts and "y & z" in texts and "<mark>" in texts
    assert len(root.findall("path")) == 2


def test_values_that_are_missing_leave_a_gap() -> None:
    y = np.array([1.0, np.nan, 2.0, 3.0])
    svg = line_plot([Series("s", np.arange(4.0), y)], x_label="x", y_label="y")
    assert len(path_points(svg)) == 3
    assert svg.count("M") == 2


def test_without_any_value_it_says_so() -> None:
    nothing = Series("s", np.arange(3.0), np.full(3, np.nan))
    assert "no values" in line_plot([nothing], x_label="x", y_label="y")
    assert "no values" in line_plot([], x_label="x", y_label="y")


def test_one_point_is_drawn() -> None:
    svg = line_plot([Series("s", np.array([10.0]), np.array([0.5]))], x_label="x", y_label="y")
    assert len(path_points(svg)) == 1


def test_the_same_values_give_the_same_drawing() -> None:
    series = Series("s", np.arange(9.0), np.sqrt(np.arange(9.0)))
    first = line_plot([series], x_label="x", y_label="y")
    assert first == line_plot([series], x_label="x", y_label="y")


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
