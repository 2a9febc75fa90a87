"""The commands ``tune`` and ``ablate``: settings of one run, and a table of recipes compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tag2mask.artifacts.handles import CamMaps, PreparedData, Tuning, walk_model
from tag2mask.cli.options import (
    EXIT_SKIPPED,
    AllowModules,
    DataFolder,
    DryRun,
    Out,
    Overrides,
    Redo,
    RunRecipe,
    SkipBad,
    Source,
    Yes,
    connect,
    exit_if_skipped,
    finish_step,
    load_chosen_recipe,
    on_first_process_only,
    option_overrides,
    redo_step,
    run_recipe_or_default,
    start_runtime,
)
from tag2mask.errors import RecipeError
from tag2mask.runtime.launcher import is_first_process


def tune(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder with masks of some training photos.")
    ],
    photos: Annotated[
        int | None,
        typer.Option(
            "--photos", min=1, metavar="N", help="Number of training photos with masks to use."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; default: RUN/tune.")
    ] = None,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Search the settings of the walk on a few photos with masks."""
    from tag2mask.cli.tables import show_tuning
    from tag2mask.steps import tune as step
    from tag2mask.steps.tuning_result import PHOTOS, read_tuning, recipe_values

    chosen = [] if photos is None else [f"tune.photos={photos}"]
    settings = load_chosen_recipe(
        recipe or run_recipe_or_default(run), [*(overrides or ()), *chosen], skip_bad=skip_bad
    )
    connect(settings)
    prepared, maps = PreparedData.open(run / PreparedData.step), CamMaps.open(run / CamMaps.step)
    kind, folder = walk_model(settings.walk.affinity), out or run / Tuning.step
    model = kind.open(run / kind.step)
    runtime = start_runtime(settings, folder, prepared)
    sections = settings.tune, settings.walk, settings.pseudo_masks
    with redo_step(Tuning, folder, redo, yes, runtime):
        found = step.tune(prepared, maps, model, *sections, folder, runtime)
    if is_first_process():
        result = read_tuning(found)
        show_tuning(
            result,
            recipe_values(result.best, settings.walk),
            found.path / PHOTOS,
            crf=settings.pseudo_masks.crf.enabled,
        )
    finish_step(found)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders; the first is compared with the others."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PAGE", help="HTML file to write.")] = Path(
        "compare.html"
    ),
    photos: Annotated[
        int, typer.Option("--photos", min=0, metavar="N", help="Number of photos to show.")
    ] = 6,
) -> None:
    """Compare runs on one page: settings, scores, and the photos that changed most."""
    from tag2mask.cli.console import print_text
    from tag2mask.steps.compare import compare as write_page

    on_first_process_only()
    print_text(f"compare: {write_page(runs, out, photos)}")


def ablate(
    data: DataFolder,
    out: Out,
    table: Annotated[
        str, typer.Option("--table", metavar="NAME|FILE", help="Shipped table or YAML file.")
    ] = "paper",
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N,...", help="Seeds to run each row with.")
    ] = "0",
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="NAME,...", help="Run only these rows.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="Shipped recipe or YAML file; default: the table's own.",
        ),
    ] = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
    source: Source = None,
    allow_modules: AllowModules = False,
) -> None:
    """Train and score the recipes of a table, running steps they share once."""
    from tag2mask.ablation import run as ablation
    from tag2mask.ablation.table import load_table
    from tag2mask.ablation.text_tables import overview
    from tag2mask.ablation.trials import plan_ablation
    from tag2mask.cli.console import print_message, print_text, show_findings
    from tag2mask.cli.tables import show_trials

    ablation_table = load_table(table)
    if rows is not None:
        ablation_table = ablation_table.select_rows([name.strip() for name in rows.split(",")])
    if recipe is not None:
        ablation_table = ablation_table.model_copy(update={"recipe": recipe})
    options = [*(overrides or ()), *option_overrides(skip_bad=skip_bad, source=source)]
    numbers = _parse_seeds(seeds)
    if dry_run:
        on_first_process_only()
        show_trials(
            plan_ablation(data, ablation_table, out, numbers, options, allow_modules=allow_modules)
        )
        return
    scores = ablation.ablate(
        data,
        ablation_table,
        out,
        name=table,
        seeds=numbers,
        overrides=options,
        allow_modules=allow_modules,
        announce=print_message if is_first_process() else lambda _: None,
        on_step=show_findings if is_first_process() else lambda _: None,
    )
    if is_first_process():
        print_text(f"{overview(scores)}\n\nThe page: {out / ablation.PAGE}")
    failed = scores.counts["failed"]
    if failed:
        print_message(f"{failed} failed; the same command tries them again")
        raise typer.Exit(EXIT_SKIPPED if scores.counts["done"] else 1)
    exit_if_skipped(
        tuple(
            dict.fromkeys(
                line for row in scores.rows for trial in row.trials for line in trial.skipped
            )
        )
    )


def _parse_seeds(text: str) -> tuple[int, ...]:
    """Parse ``--seeds``; RecipeError where it isn't a list of different non-negative numbers."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise RecipeError(
            f"{text!r} is not a list of seeds",
            where="--seeds",
            fix="Give different whole numbers from 0 up, such as 0,1,2.",
        )
    return numbers
