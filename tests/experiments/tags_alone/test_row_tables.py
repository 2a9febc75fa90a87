"""The tables of the results page are those of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.experiments.row_log import read_rows
from benchmarks.experiments.tags_alone.row_list import EXPERIMENTS, SEAM
from benchmarks.experiments.tags_alone.row_tables import TABLES, tables
from benchmarks.experiments.tags_alone.run_rows import LOG

PAGE = Path(__file__).parents[3] / "docs" / "results" / "tags-alone.md"


def row(name: str, seed: int, base: str | None, miou: float) -> dict[str, Any]:
    masks = {"miou": 50.0, "precision": 61.6, "recall": 74.4}
    split = {"masks": masks, "network": masks | {"miou": miou}}
    gains = {} if base is None else {"over_base": {"network": {"tune": [-0.04, -1.25, 1.0]}}}
    machine = {"machine": {"system": "Linux-1"}}
    return (
        {"name": name, "seed": seed, "base": base, "train": split, "tune": split} | gains | machine
    )


def test_tables() -> None:
    rows = [
        row("CutMix", 1, SEAM, 41.0),
        row("CutMix", 0, SEAM, 40.0),
        row(SEAM, 0, None, 39.0),
        row(SEAM, 0, None, 38.0) | {"data": "smaller photos"},
        {key: value for key, value in row(SEAM, 0, None, 37.0).items() if key != "tune"},
        row(SEAM, 1, None, 39.5) | {"machine": {"system": "Linux-2"}},
    ]
    baselines, network = tables(rows)
    assert baselines.splitlines()[0] == "## Baselines"
    assert baselines.splitlines()[4:] == [
        "| SEAM + walk | 50.00 (62 / 74) | 50.00 (62 / 74) | 39.00 | 39.00 (62 / 74) | — |",
        "| SEAM + walk, seed 1, machine 2 | 50.00 (62 / 74) | 50.00 (62 / 74) | 39.50 "
        "| 39.50 (62 / 74) | — |",
    ]
    assert network.splitlines()[4:] == [
        "| CutMix | 40.00 | 40.00 (62 / 74) | +0.0 (-1.2 to +1.0) |",
        "| CutMix, seed 1 | 41.00 | 41.00 (62 / 74) | +0.0 (-1.2 to +1.0) |",
    ]


def test_every_experiment_is_in_one_table() -> None:
    named = [one.name for experiments in TABLES.values() for one in experiments]
    assert sorted(named) == sorted(EXPERIMENTS)


def test_page_has_the_tables_of_the_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for table in tables(read_rows(LOG)):
        assert table.split("\n", 2)[2] in page
