"""The command ``ablate``: a table of recipes on one data set."""

from __future__ import annotations

from typing import Annotated

import typer

from tag2mask.ablation import run as ablation
from tag2mask.ablation.table import load_table
from tag2mask.ablation.trials import plan
from tag2mask.cli.console import say, show_trials
from tag2mask.cli.options import (
    LEFT_OUT,
    DataFolder,
    Out,
    Overrides,
    SkipBad,
    Source,
    end,
    is_first_process,
    short_options,
)
from tag2mask.errors import RecipeError


def ablate(
    data: DataFolder,
    out: Out,
    table: Annotated[str, typer.Option("--table", help="Shipped table, or a YAML file.")] = "paper",
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N,...", help="Each row runs with each of them.")
    ] = "0",
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="NAME,...", help="Only these rows.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="In place of the table's: shipped, or a YAML file."),
    ] = None,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and what it would cost.")
    ] = False,
    skip_bad: SkipBad = False,
    source: Source = None,
) -> None:
    """Run a table of recipes, with what they share run once, and compare them."""
    chosen = load_table(table)
    if rows is not None:
        chosen = chosen.chosen([name.strip() for name in rows.split(",")])
    if recipe is not None:
        chosen = chosen.model_copy(update={"recipe": recipe})
    options = [*(overrides or ()), *short_options(skip_bad=skip_bad, source=source)]
    numbers = _numbers(seeds)
    if dry_run:
        show_trials(plan(data, chosen, out, numbers, options))
        return
    scores = ablation.ablate(
        data,
        chosen,
        out,
        name=table,
        seeds=numbers,
        overrides=options,
        announce=say if is_first_process() else lambda _: None,
    )
    if is_first_process():
        print(f"{ablation.overview(scores)}\n\nThe page: {out / ablation.PAGE}")
    failed = scores.counts["failed"]
    if failed:
        say(f"{failed} failed; the same command tries them again")
        raise typer.Exit(LEFT_OUT if scores.counts["done"] else 1)
    end(
        tuple(
            dict.fromkeys(
                line for row in scores.rows for trial in row.trials for line in trial.skipped
            )
        )
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Seeds as they stand in ``--seeds``."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise RecipeError(
            f"{text!r} is no list of seeds",
            where="--seeds",
            fix="Give different whole numbers from 0 up, such as 0,1,2.",
        )
    return numbers
