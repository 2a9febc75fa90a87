"""Tables for people: no name is a formula, and no two names become one."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.segmentation.standalone import decisions
from tag2mask.text.csv_text import csv_text, spreadsheet_text

FORMULAS = ("=HYPERLINK(1)", "+1", "-0.3", "@SUM(1)", "\t=1", "\r=1", "'=1", "''@")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula(text: str) -> None:
    assert spreadsheet_text(text) == f"'{text}"


def test_other_cells_stay() -> None:
    for text in ("", "cat", "a=1", "1-2", "'s-Hertogenbosch", "'", "0.5"):
        assert spreadsheet_text(text) == text
    written = csv_text([["=a", -0.3, None], ["b,c", float("nan"), 1e-05]])
    assert written == '\'=a,-0.3,\n"b,c",nan,1e-05\n'
    assert next(csv.reader(written.splitlines())) == ["'=a", "-0.3", ""]


@given(st.text(alphabet="'=+-@\t\ra0", max_size=5))
def test_the_exported_program_does_the_same_and_reads_it_back(text: str) -> None:
    cell = decisions.spreadsheet_text(text)
    assert cell == spreadsheet_text(text)
    assert decisions._without_mark(cell) == text
