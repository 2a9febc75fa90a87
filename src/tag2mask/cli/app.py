"""The command line: paths in, exit code out. Every command is one call of a typed function.

Exit codes: 0 done; 1 an error that the message tells how to mend; 2 wrong command line; 3 finished
with some photos left out; 130 interrupted. ``TAG2MASK_DEBUG=1`` shows the traceback of an error.
Stages are imported inside the commands: ``--help`` and ``status`` answer without torch.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tag2mask.artifacts.handles import STEP_NAMES, Evaluation, ReportPage
from tag2mask.cli import ablate as cli_ablate
from tag2mask.cli import predict as cli_network
from tag2mask.cli import steps as cli_steps
from tag2mask.cli.console import (
    say,
    show_data,
    show_plan,
    show_recipes,
    show_run,
    show_scores,
    show_status,
)
from tag2mask.cli.interrupts import end_interrupted
from tag2mask.cli.options import (
    DEFAULT_RECIPE,
    Compare,
    DataFolder,
    Out,
    Overrides,
    RecipeName,
    SkipBad,
    Source,
    chosen_recipe,
    end,
    is_first_process,
)
from tag2mask.errors import Tag2MaskError
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.loading import dump_recipe, load_recipe, shipped_recipes
from tag2mask.version import __version__

if TYPE_CHECKING:
    StepName = str
else:
    StepName = StrEnum("StepName", {name: name for name in STEP_NAMES})


_EMPTY_OPTION = re.compile("--[a-z-]+=")


class _Commands(TyperGroup):
    """Turns the errors a user can mend into one message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # As a path it would mean the working directory; mostly it is a shell's unset variable.
        for before, value in pairwise(["", *args]):
            if not value or _EMPTY_OPTION.fullmatch(value):
                name = value.rstrip("=") or before
                raise typer.BadParameter(
                    "an empty value",
                    ctx,
                    param_hint=name if name.startswith("--") else "an argument",
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _readable_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="tag2mask",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segmentation masks from image-level tags (SEAM).",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at a data folder.")
recipe_app = typer.Typer(no_args_is_help=True, help="List, show and check recipes.")
app.add_typer(data_app, name="data")
app.add_typer(recipe_app, name="recipe")
app.command("prepare")(cli_steps.prepare)
app.command("train-cam")(cli_steps.train_cam)
app.command("infer-cam")(cli_steps.infer_cam)
app.command("affinity-labels")(cli_steps.affinity_labels)
app.command("train-affinity")(cli_steps.train_affinity)
app.command("walk")(cli_steps.walk)
app.command("pseudo-masks")(cli_steps.pseudo_masks)
app.command("train-segmenter")(cli_steps.train_segmenter)
app.command("predict")(cli_network.predict)
app.command("export")(cli_network.export)
app.command("evaluate")(cli_steps.evaluate)
app.command("report")(cli_steps.report)
app.command("tune")(cli_steps.tune)
app.command("ablate")(cli_ablate.ablate)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        end_interrupted()
    except Tag2MaskError as error:
        _fail(str(error), error)
    except MemoryError as error:
        _fail("out of memory. Lower train_cam.batch_size, runtime.threads or predict.tile", error)
    except OSError as error:
        if error.errno == errno.EPIPE or error.errno is None:
            raise
        where = f" [{error.filename}]" if error.filename else ""
        _fail(f"{error.strerror}{where}", error)


def _fail(message: str, error: BaseException) -> None:
    if os.environ.get("TAG2MASK_DEBUG") == "1":
        raise error
    say(f"error: {message}")
    raise typer.Exit(1) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tag2mask {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Segmentation masks from image-level tags (SEAM)."""
    # Read when torch is imported, later: with several devices each process would log a warning that
    # concerns only us (an unneeded search for unused parameters).
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@app.command("run")
def run_command(
    data: DataFolder,
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    until: Annotated[StepName | None, typer.Option(help="Last step to run.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and what it would cost.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="The data changed: keep the models, redo what changed.")
    ] = False,
    redo: Annotated[
        StepName | None, typer.Option(help="Delete this step and all later ones first.")
    ] = None,
    skip_bad: SkipBad = False,
    source: Source = None,
    compare: Compare = None,
) -> None:
    """Run all steps: from photos and tags to masks, scores and a report."""
    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad, source=source)
    if dry_run:
        plan = pipeline.dry_run(data, settings, out, until=until, update=update, redo=redo)
        show_plan(plan)
        if plan.refusal is not None:
            raise plan.refusal
        return
    result = pipeline.run(
        data,
        settings,
        out,
        until=until,
        update=update,
        redo=redo,
        compare=compare or (),
    )
    if is_first_process():
        show_run(result)
    end(result.skipped)


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")],
) -> None:
    """Tell where a run stands: each step's state, what it reads, and why it is stale."""
    show_status(pipeline.status(run))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("runs/demo"),
) -> None:
    """The whole job on a small data set made on the spot: CAM baseline against SEAM."""
    results = pipeline.demo(out)
    if not is_first_process():
        return
    for name, result in results.items():
        print(f"\n{name}:")
        show_run(result)
    show_scores({name: result.handles[Evaluation.step] for name, result in results.items()})
    print(f"The report: {out / ReportPage.step / 'index.html'}")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder of photos and tags.", metavar="DIR")],
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    source: Source = None,
) -> None:
    """Count what a data folder holds and report all its problems at once."""
    from tag2mask.data.check import check_data
    from tag2mask.data.inventory import SourceOptions

    section = chosen_recipe(recipe, overrides, source=source).prepare
    report = check_data(folder, section.source, SourceOptions.of(section))
    show_data(report)
    if report.errors:
        raise typer.Exit(1)


@recipe_app.command("list")
def recipe_list() -> None:
    """List the shipped recipes."""
    show_recipes(list(shipped_recipes()))


@recipe_app.command("show")
def recipe_show(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe, or a YAML file.")],
    overrides: Overrides = None,
) -> None:
    """Print a recipe with every key written out."""
    print(dump_recipe(load_recipe(recipe, overrides or ())), end="")


@recipe_app.command("check")
def recipe_check(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe, or a YAML file.")],
    overrides: Overrides = None,
) -> None:
    """Check a recipe: unknown keys and impossible values, all at once."""
    load_recipe(recipe, overrides or ())
    print(f"{recipe}: fine")
