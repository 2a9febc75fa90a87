"""Print the rows of ``rows.jsonl`` on the tuning photos as Markdown tables, by question.

    python -m benchmarks.experiments.tags_alone.row_tables [--log FILE]

These are the tables of ``docs/results/tags-alone.md``. Rows of a GPU, which had smaller photos, are
left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.experiments.row_log import Row, read_rows
from benchmarks.experiments.tags_alone.row_list import (
    BASELINES,
    CONTRAST,
    ENSEMBLES,
    REFINED_MAPS,
    SEGMENTER,
    TRUSTED_PIXELS,
    Experiment,
)
from benchmarks.experiments.tags_alone.run_rows import LOG

SEGMENTER_TABLE = "How the network trains"
TABLES: dict[str, tuple[Experiment, ...]] = {
    "Baselines": BASELINES,
    "Which pixels to trust": TRUSTED_PIXELS,
    SEGMENTER_TABLE: SEGMENTER,
    "Other maps": (*CONTRAST, *ENSEMBLES, *REFINED_MAPS),
}
MASKS = ("masks, train", "masks, tuning")
NETWORK = ("network, train", "network, tuning", "over its base (95 % over photos)")


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield each table, headed by its question, in the order of the experiments.

    The one on the network's training is without the masks: those of its rows are all the same. Rows
    name their machine, by its place in the log, unless it is the first: the same code and seeds
    round differently on another one.
    """
    shown = [row for row in rows if "tune" in row and "data" not in row]
    machines = list(dict.fromkeys(map(_machine, shown)))
    for title, experiments in TABLES.items():
        masks = title != SEGMENTER_TABLE
        lines = [
            _line(row, machines.index(_machine(row)), masks)
            for one in experiments
            for row in sorted(shown, key=lambda row: int(row["seed"]))
            if row["name"] == one.name
        ]
        if lines:
            names = ["row", *(MASKS if masks else ()), *NETWORK]
            yield "\n".join([f"## {title}", "", _cells(names), "|---" * len(names) + "|", *lines])


def _machine(row: Row) -> tuple[object, ...]:
    return tuple(row["machine"].get(key) for key in ("processor", "native_bf16", "system"))


def _line(row: Row, machine: int, masks: bool) -> str:
    seed = f", seed {row['seed']}" if row["seed"] else ""
    cells = [f"{row['name']}{seed}{f', machine {machine + 1}' if machine else ''}"]
    if masks:
        cells += [_scores(row[split]["masks"]) for split in ("train", "tune")]
    cells += [f"{row['train']['network']['miou']:.2f}", _scores(row["tune"]["network"])]
    return _cells([*cells, _gain(row["over_base"]["network"]["tune"]) if row["base"] else "—"])


def _gain(interval: Sequence[float]) -> str:
    mean, low, high = (f"{value:+z.1f}" for value in interval)
    return f"{mean} ({low} to {high})"


def _scores(scores: Row) -> str:
    return f"{scores['miou']:.2f} ({scores['precision']:.0f} / {scores['recall']:.0f})"


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, default=LOG)
    log: Path = parser.parse_args().log
    print("\n\n".join(tables(read_rows(log))))


if __name__ == "__main__":
    main()
