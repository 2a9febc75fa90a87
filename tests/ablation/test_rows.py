"""Which rows are compared: the named one or the first of its kind, and the one before."""

from __future__ import annotations

from pathlib import Path

from ablation_scores import split, trial

from tag2mask.ablation.rows import table_rows
from tag2mask.ablation.table import AblationTable, load_table
from tag2mask.ablation.trials import list_trials


def compared(table: AblationTable, out: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return the names of the base and of the row before of each row of a finished table."""
    trials = list_trials(out / "data", table, out, (0,))
    scored = trial(0, split("val", [("CAM", 0.4, 0.4), ("segmenter", 0.5, None)], 0.4))
    found = {(row.name, 0): scored for row in table.rows}
    pairs = {}
    for row in table_rows(table, trials, found, {}):
        own = row.own("val")
        over = own.over_base, own.over_previous
        pairs[row.name] = (over[0] and over[0].row, over[1] and over[1].row)
    return pairs


def test_networks_are_compared_with_networks(tmp_path: Path) -> None:
    found = compared(load_table("paper"), tmp_path)
    assert found["CAM"] == (None, None)
    assert found["MDC"] == ("CAM", "CAM")
    assert found["SEAM"] == ("CAM", "+ PCM + ECR without mining")
    assert found["SEAM: flip"][0] == "SEAM"
    assert found["SEAM + walk"] == ("CAM + walk", "CAM + walk")
    assert found["MDC + walk"] == ("CAM + walk", "SEAM + walk")
    assert found["segmenter on CAM"] == (None, None), "a network gets no tags, masks do"
    assert found["segmenter on CAM + walk"] == ("segmenter on CAM", "segmenter on SEAM + CRF")
    assert found["segmenter on SEAM + walk"] == ("segmenter on CAM + walk",) * 2
    assert found["segmenter on ground truth"][0] == "segmenter on SEAM + walk"


def test_a_row_whose_base_is_not_run_is_compared_with_the_first(tmp_path: Path) -> None:
    table = load_table("paper").select_rows(["CAM", "MDC", "SEAM + walk"])
    assert compared(table, tmp_path)["SEAM + walk"] == ("CAM", "MDC")


def test_rows_wait_until_they_are_run(tmp_path: Path) -> None:
    table = load_table("tiny")
    trials = list_trials(tmp_path / "data", table, tmp_path, (0, 1))
    rows = table_rows(table, trials, {}, {})
    assert [row.name for row in rows] == [row.name for row in table.rows]
    assert {one.state for row in rows for one in row.trials} == {"waiting"}
