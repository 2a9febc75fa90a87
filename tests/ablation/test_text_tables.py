"""Markdown and LaTeX tables: values, their basis, and escaped names."""

from __future__ import annotations

import re

import pytest
from ablation_scores import cam_and_seam

from tag2mask.ablation.records import AblationScores, Statistic
from tag2mask.ablation.text_tables import (
    latex_table,
    markdown_report,
    mean_percent,
    overview,
    points,
)


def test_values_have_spread_gain_and_basis() -> None:
    text = overview(cam_and_seam())
    assert text.startswith("2 rows, seeds 0, 1: 3 done, 1 failed.")
    assert "## train, 10 photos, known or no tags" in text
    cam = next(line for line in text.splitlines() if line.startswith("| CAM"))
    assert "41.00 ± 1.41" in cam and "43.00 ± 1.41 at 0.40" in cam and "20.50 ± 0.71" in cam
    assert "0.30 (estimated)" in cam and "60 s" in cam
    seam = next(line for line in text.splitlines() if line.startswith("| SEAM"))
    assert "segmenter, masks used" in seam and "47.00 " in seam and "+7.00" in seam
    assert "Trained on masks, not on tags: SEAM & 50 %" in text


def test_report_has_every_measure_failures_and_commands() -> None:
    text = markdown_report(cam_and_seam(name="a|b"))
    measures = text.split("## Every measure")[1].split("##")[0]
    assert [
        line.split("|")[2].strip() for line in measures.splitlines() if line[:5] == "| CAM"
    ] == ["CAM"], "maps and the masks made from them are one line"
    assert r"a\|b" in measures
    assert r"- row a\|b, seed 1: it \<broke> & failed_1" in text
    assert text.count("tag2mask run") == 2


def test_tables_before_any_trial_is_done() -> None:
    scores = cam_and_seam()
    rows = tuple(
        type(row)(row.name, row.recipe, row.options, row.learns_from, row.measure, (), None, ())
        for row in scores.rows
    )
    empty = AblationScores("0", "paper", "", "photos", (0,), rows)
    assert overview(empty) == "2 rows, seed 0: 0 done."
    assert latex_table(empty).count(r"\\") >= 3


def test_latex_has_one_line_per_row_with_equal_cells() -> None:
    text = latex_table(cam_and_seam())
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1]
    lines = [line for line in text.splitlines() if re.match(r"(row|CAM|SEAM)", line)]
    assert len(lines) == 3
    for line in lines:
        assert line.endswith(r" \\")
        assert len(re.split(r"(?<!\\)&", line)) == len(columns)
    assert r"SEAM \& 50 \% (masks used)" in text
    assert r"41.00 $\pm$ 1.41" in text
    assert "Time" not in text, "no such column"
    for pair in ("table*", "tabular"):
        assert text.count(rf"\begin{{{pair}}}") == text.count(rf"\end{{{pair}}}") == 1


@pytest.mark.parametrize(
    ("value", "text", "signed"),
    [
        (Statistic(0.4321, None, 1), "43.21", "+43.21"),
        (Statistic(-0.01, 0.0, 2), "-1.00 ± 0.00", "−1.00 ± 0.00"),
        (None, "–", "–"),
    ],
)
def test_wording(value, text: str, signed: str) -> None:
    assert (mean_percent(value), points(value)) == (text, signed)
