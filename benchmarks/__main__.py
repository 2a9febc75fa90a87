"""Run the benchmarks: ``python -m benchmarks [names] [--out bench.json]``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import commit, machine, versions
from benchmarks.rows import BENCHMARKS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks, print a table and write a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument(
        "--toy", action="store_true", help="smallest sizes, once each: checks that they run"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    console = Console(stderr=True)
    report = {"machine": machine(), "versions": versions(), "commit": commit(), "toy": options.toy}
    rows: dict[str, dict[str, Any]] = {}
    for name in options.names or BENCHMARKS:
        with console.status(name):
            row = BENCHMARKS[name].measure(toy=options.toy)
        if isinstance(row, str):
            console.print(f"{name} is left out: {row}")
            continue
        rows[name] = row._asdict() | BENCHMARKS[name].settings()
        options.out.write_text(json.dumps({"rows": rows, **report}, indent=2) + "\n")
    Console(width=None if Console().is_terminal else 120).print(_table(rows))
    print(f"written to {options.out}")


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table("row", "what", "ratio", "ours", "other", "unit", "precision")
    for column in table.columns[2:5]:
        column.justify = "right"
    for name, row in rows.items():
        numbers = (f"{row[key]:.3g}" for key in ("ratio", "ours", "other"))
        table.add_row(name, BENCHMARKS[name].what, *numbers, row["unit"], row["precision"])
    return table


if __name__ == "__main__":
    main()
