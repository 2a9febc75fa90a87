"""Markdown and LaTeX tables: values, their basis, and escaped names."""

from __future__ import annotations

import re

import pytest
from ablation_scores import cam_and_seam, split, trial

from tag2mask.ablation.latex_table import latex_table
from tag2mask.ablation.records import AblationScores, RowScores, Statistic
from tag2mask.ablation.scores import OtherRow, row_scores
from tag2mask.ablation.text_tables import (
    markdown_report,
    mean_percent,
    overview,
    own_head,
    points,
)


def lines_of(text: str, title: str, row: str) -> list[list[str]]:
    """Return the cells of each line of a row in the table under a title."""
    part = text.partition(f"## {title}")[2].partition("##")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()]
    return [line for line in cells if line and line[0] == row]


def test_values_have_spread_differences_and_basis() -> None:
    text = overview(cam_and_seam())
    assert text.startswith("2 rows, seeds 0, 1: 3 done, 1 failed. Train 10 photos.")
    used = "0.30 (estimated)"
    best = "43.00 ± 1.41 at 0.40"
    assert lines_of(text, "Rows", "CAM") == [
        ["CAM", "CAM", "41.00 ± 1.41", best, used, "known", "2", "1 min 00 s"]
    ]
    assert lines_of(text, "Rows", "SEAM & 50 %") == [
        ["SEAM & 50 %", "segmenter, masks used", "47.00", "–", used, "no", "1", "1 min 00 s"]
    ]
    assert lines_of(text, "Differences", "SEAM & 50 %") == [["SEAM & 50 %", "CAM", "+7.00", "–"]]
    assert not lines_of(text, "Differences", "CAM")
    assert "Trained on masks, not on tags: SEAM & 50 %" in text


def test_splits_are_side_by_side() -> None:
    def row(name: str, train: float, val: float, **others: OtherRow) -> RowScores:
        scored = trial(
            0,
            split("train", [(name, train, train + 0.02)], train),
            split("val", [(name, val, val + 0.01), ("segmenter", val + 0.05, None)], val),
        )
        return row_scores(name, "tiny", (), "tags", "masks", [scored], **others)

    first = row("CAM", 0.40, 0.30)
    second = row("SEAM", 0.45, 0.33, base=OtherRow(first, {}), previous=OtherRow(first, {}))
    third = row("ER", 0.44, 0.34, base=OtherRow(first, {}), previous=OtherRow(second, {}))
    scores = AblationScores("0", "paper", "", "photos", (0,), (first, second, third))
    assert own_head(scores)[2:6] == ("train: mIoU", "train: best", "val: mIoU", "val: best")
    text = markdown_report(scores)
    assert lines_of(text, "Rows", "SEAM") == [
        [
            *("SEAM", "SEAM", "45.00", "47.00 at 0.40", "33.00", "34.00 at 0.40"),
            *("0.30 (estimated)", "known", "1", "1 min 00 s"),
        ]
    ]
    assert lines_of(text, "Differences", "ER") == [
        ["ER", "CAM", "+4.00", "+4.00", "+4.00", "+4.00"],
        ["ER", "SEAM", "−1.00", "−1.00", "+1.00", "+1.00"],
    ]
    masks, network = lines_of(text, "Every measure", "CAM")
    assert masks[2:5] == ["40.00", "42.00 at 0.40", "20.00"], "mIoU, best, boundary IoU of train"
    assert masks[7:10] == ["30.00", "31.00 at 0.40", "15.00"]
    assert network[1] == "segmenter" and network[2:7] == ["–"] * 5
    assert network[7:9] == ["35.00", "–"], "networks need no threshold, so none is the best"


def test_report_has_every_measure_failures_and_commands() -> None:
    text = markdown_report(cam_and_seam(name="a|b"))
    assert len(lines_of(text, "Every measure", "CAM")) == 1, "maps and their masks are one line"
    assert r"a\|b" in text.split("## Every measure")[1].split("##")[0]
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
