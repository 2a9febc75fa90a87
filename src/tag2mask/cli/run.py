"""The commands ``demo``, ``run`` and ``status``: complete runs, and their state."""

from __future__ import annotations

import shlex
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.artifacts.handles import Evaluation, PreparedData, ReportPage
from tag2mask.artifacts.step_table import STEP_NAMES
from tag2mask.cli.options import (
    AllowModules,
    Compare,
    CorrectionsFolder,
    DataFolder,
    DryRun,
    Out,
    Overrides,
    RunRecipe,
    SkipBad,
    Source,
    Yes,
    confirm_deletion,
    connect,
    exit_if_skipped,
    load_chosen_recipe,
    on_first_process_only,
    own_recipe_or_default,
)
from tag2mask.runtime.launcher import is_first_process

if TYPE_CHECKING:
    from tag2mask.artifacts.handles import Handle
    from tag2mask.recipe.schema import Recipe

    StepName = str
else:
    StepName = StrEnum("StepName", {name: name for name in STEP_NAMES})


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("runs/demo"),
) -> None:
    """Run everything on a small generated data set: plain CAM against SEAM."""
    from tag2mask.cli.console import print_text, show_run
    from tag2mask.cli.tables import show_scores
    from tag2mask.pipeline import run as pipeline
    from tag2mask.review.ask import first_photos

    results = pipeline.demo(out, on_step=_announce)
    if not is_first_process():
        return
    for name, result in results.items():
        print_text(f"\n{name}:")
        show_run(result)
    show_scores({name: result.handles[Evaluation.step] for name, result in results.items()})
    print_text(f"The report: {out / ReportPage.step / 'index.html'}")
    first = ", ".join(first_photos(out)[:3])
    review = shlex.join(["tag2mask", "review", str(out)])
    print_text(f"To correct masks, first those of {first}: {review}")


def run(
    data: DataFolder,
    out: Out,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    until: Annotated[
        StepName | None, typer.Option(metavar="STEP", help="Stop after this step.")
    ] = None,
    dry_run: DryRun = False,
    update: Annotated[
        bool,
        typer.Option(
            "--update", metavar="", help="Accept changes in the data; keep the trained networks."
        ),
    ] = False,
    redo: Annotated[
        StepName | None,
        typer.Option(metavar="STEP", help="Delete this step and all later ones first."),
    ] = None,
    yes: Yes = False,
    skip_bad: SkipBad = False,
    source: Source = None,
    compare: Compare = None,
    corrections: CorrectionsFolder = None,
    branch: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Start from the finished steps of another run, with its recipe and --set.",
        ),
    ] = None,
    fine_tune: Annotated[
        bool,
        typer.Option(
            "--fine-tune",
            metavar="",
            help="With drawn masks, train the network of --from on instead of a new one.",
        ),
    ] = False,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks",
            metavar="DIR",
            help="Learn from masks of `masks import` or `pseudo-masks`: leave out the steps that "
            "make them.",
        ),
    ] = None,
    allow_modules: AllowModules = False,
) -> None:
    """Run all steps: from photos and tags to masks, scores and a report."""
    from tag2mask.cli.console import deleted_text, print_message, print_text, show_run
    from tag2mask.pipeline import run as pipeline
    from tag2mask.pipeline.corrections import fine_tuning, step_to_redo
    from tag2mask.pipeline.status import check_redo, redone_folders
    from tag2mask.recipe.loading import path_override

    if branch is not None and recipe is not None:
        raise typer.BadParameter("--from takes the recipe of that run; leave --recipe out")
    if fine_tune and branch is None:
        raise typer.BadParameter("--fine-tune trains the network of another run on: give --from")
    chosen = recipe or own_recipe_or_default(out, branch)
    given = [] if masks is None else [path_override("masks", masks)]
    settings = load_chosen_recipe(
        chosen,
        [*(fine_tuning(branch) if fine_tune and branch else ()), *(overrides or ()), *given],
        skip_bad=skip_bad,
        source=source,
        allow_modules=allow_modules,
    )
    if dry_run:
        on_first_process_only()
    else:
        connect(settings)
    check_redo(settings, until, redo)
    first = step_to_redo(
        settings, out, corrections, redo=redo, until=until, update=update, source=branch
    )
    if dry_run:
        from tag2mask.cli.tables import show_plan
        from tag2mask.pipeline.dry_run import dry_run as plan_run

        plan = plan_run(
            data,
            settings,
            out,
            until=until,
            update=update,
            redo=first,
            compare=compare or (),
            source=branch,
            corrections=corrections,
        )
        show_plan(plan)
        if plan.refusal is not None:
            raise plan.refusal
        if text := deleted_text(redone_folders(settings, out, first)):
            print_text(text)
        return
    if is_first_process():
        confirm_deletion(redone_folders(settings, out, first), yes)
    result = pipeline.run(
        data,
        settings,
        out,
        until=until,
        update=update,
        redo=first,
        compare=compare or (),
        source=branch,
        corrections=corrections,
        on_step=partial(_announce_of, settings),
        on_warning=lambda text: print_message(f"warning: {text}", lines=False),
    )
    if is_first_process():
        show_run(result)
    exit_if_skipped(result.skipped)


def _announce_of(recipe: Recipe, handle: Handle) -> None:
    """Announce a step; after ``prepare`` also say which objects the recipe is able to see."""
    from tag2mask.cli.console import print_text
    from tag2mask.data.index import read_index
    from tag2mask.pipeline.object_sizes import seen_objects

    _announce(handle)
    if handle.step == PreparedData.step and is_first_process():
        sizes = [sample.size for sample in read_index(handle.path, "train")]
        print_text(seen_objects(recipe, sizes))


def _announce(handle: Handle) -> None:
    """Print what a step of a run found as soon as it is finished: later steps take hours."""
    from tag2mask.cli.console import show_findings

    if is_first_process():
        show_findings(handle)


def status(
    run: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")],
) -> None:
    """Show the state of each step, what it reads, why it is stale, and its warnings."""
    from tag2mask.cli.console import print_text, show_warnings
    from tag2mask.cli.tables import show_status
    from tag2mask.pipeline.corrections import decisions_to_learn
    from tag2mask.pipeline.status import complete_steps
    from tag2mask.pipeline.status import status as run_status

    states = run_status(run)
    show_status(states)
    for handle in complete_steps(run, states):
        show_warnings(handle)
    decisions = decisions_to_learn(run)
    if decisions is not None:
        print_text(f"corrections: {decisions}")
