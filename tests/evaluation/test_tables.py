"""Markdown tables."""

from __future__ import annotations

import pytest

from tag2mask.evaluation.tables import markdown_table

pytestmark = pytest.mark.smoke


def test_columns_are_aligned() -> None:
    assert markdown_table(("name", "%"), [("a", "7.25"), ("longer", "–")]).splitlines() == [
        "| name   |    % |",
        "|:-------|-----:|",
        "| a      | 7.25 |",
        "| longer |    – |",
    ]


def test_bars_in_cells_are_escaped() -> None:
    assert r"| a\|b | 1 |" in markdown_table(("name", "n"), [("a|b", "1")])


def test_a_table_without_rows_has_a_head() -> None:
    assert markdown_table(("a", "b"), []) == "| a | b |\n|:--|--:|"
