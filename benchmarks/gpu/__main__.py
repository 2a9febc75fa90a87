"""Measure the speed on a GPU: ``python -m benchmarks.gpu PHOTOS [--out gpu.json]``.

PHOTOS is a data folder in any layout that `tag2mask run` reads. Runs on the CPU where there is no
GPU; with ``--toy`` at the smallest sizes, which is only a test.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.demo_run import TOY
from benchmarks.gpu.comparisons import COMPARISONS
from benchmarks.gpu.steps import RunSteps, short_settings
from benchmarks.measure import commit, machine, versions
from tag2mask.errors import Tag2MaskError
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.session import Runtime

TOY_SETTINGS = (
    *(f"train_{name}.batch_size=2" for name in ("cam", "affinity", "segmenter")),
    "train_cam.long_side=[48, 80]",
    "train_affinity.long_side=[48, 80]",
    "predict.scales=[1.0]",
)
STEPS, PHOTOS, TOY_STEPS, TOY_PHOTOS = 60, 200, 2, 6
"""Steps of each training, and photos of each split."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows, print a table and write a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=main.__doc__)
    parser.add_argument("photos", type=Path, help="data folder")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--recipe", default="lite2-gpu")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each training")
    parser.add_argument("--count", type=int, default=PHOTOS, help="photos of each split, at most")
    parser.add_argument(
        "--toy", action="store_true", help="smallest sizes, once each: checks that they run"
    )
    options = parser.parse_args(arguments)
    toy = options.toy
    recipe = chosen_recipe(options.recipe, TOY_STEPS if toy else options.steps, toy=toy)
    runtime = Runtime.start(**recipe.runtime.model_dump())
    report = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "recipe": options.recipe,
        "device": runtime.device.type,
        "toy": toy,
    }
    rows: dict[str, dict[str, Any]] = {}

    def write() -> None:
        options.out.write_text(json.dumps({"rows": rows, **report}, indent=2) + "\n")

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="tag2mask-gpu-") as folder:
        count = TOY_PHOTOS if toy else options.count
        steps = RunSteps(options.photos, recipe, Path(folder), runtime, count)
        try:
            rows |= {name: figure._asdict() for name, figure in steps.figures().items()}
        except Tag2MaskError as error:
            parser.exit(1, f"{error}\n")
    write()
    for name, compare in COMPARISONS.items():
        row = compare(recipe, runtime.device, toy=toy)
        if isinstance(row, str):
            console.print(f"{name} is left out: {row}")
            continue
        rows[name] = row._asdict()
        write()
    Console(width=None if Console().is_terminal else 120).print(table(rows))
    print(f"written to {options.out}")


def chosen_recipe(name: str, steps: int, *, toy: bool) -> Recipe:
    """Return the recipe with short trainings; the toy's networks have few weights."""
    small = [*TOY, *TOY_SETTINGS] if toy else []
    return load_recipe(name, [*small, *short_settings(steps)], effects=False)


def table(rows: dict[str, dict[str, Any]]) -> Table:
    """Return the rows as a table: figures of steps have no other side."""
    shown = Table("row", "ours", "other", "ratio", "unit", "GPU busy")
    for name, row in rows.items():
        other, ratio, busy = (row.get(key) for key in ("other", "ratio", "gpu_busy"))
        shown.add_row(
            name,
            f"{row['ours']:.3g}",
            "" if other is None else f"{other:.3g}",
            "" if ratio is None else f"{ratio:.3g}",
            row["unit"],
            "" if busy is None else f"{100 * busy:.0f} %",
        )
    return shown


if __name__ == "__main__":
    main()
