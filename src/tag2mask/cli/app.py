"""The command line: paths in, exit code out. Every command is one call of a typed function.

Exit codes: 0 done; 1 an error whose message says how to fix it; 2 wrong command line; 3 finished
with some photos skipped; 130 interrupted. ``TAG2MASK_DEBUG=1`` shows the traceback of an error.
Steps and recipes are imported inside the commands, so that ``--help`` answers at once and
``status`` needs no torch.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tag2mask.cli import data_import, experiments, masks, predict, review, run, steps, training
from tag2mask.cli.interrupts import end_interrupted, was_interrupted
from tag2mask.cli.options import (
    DEFAULT_RECIPE,
    CorrectionsFolder,
    Overrides,
    RecipeName,
    Source,
    load_chosen_recipe,
)
from tag2mask.errors import Tag2MaskError
from tag2mask.runtime.peers import report_end
from tag2mask.version import __version__

START, CORRECT, TRAINED, STEPS, EXPERIMENTS = (
    "Start here",
    "Correct masks",
    "Use a trained network",
    "Steps",
    "Experiments",
)
"""Groups of commands in ``tag2mask --help``."""
_Recipe = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Shipped recipe or YAML file.")]
_EMPTY_OPTION = re.compile("--[a-z-]+=")


class _Commands(TyperGroup):
    """Turns the errors that a user can fix into one message and an exit code."""

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
)
data_app = typer.Typer(no_args_is_help=True, help="Check a data folder, or make one of a table.")
recipe_app = typer.Typer(no_args_is_help=True, help="List, show and check recipes.")
masks_app = typer.Typer(
    no_args_is_help=True, help="Masks to and from other tools; scores of masks."
)
app.add_typer(data_app, name="data", rich_help_panel=START)
app.add_typer(recipe_app, name="recipe", rich_help_panel=START)
app.add_typer(masks_app, name="masks", rich_help_panel=TRAINED)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        report_end(error)
        end_interrupted()
    except Exception as error:
        if was_interrupted():  # some libraries turn the interrupt into another exception
            report_end(KeyboardInterrupt())
            end_interrupted()
        if not isinstance(error, typer.Exit):
            report_end(error)
        _explain(error)
        raise


def _explain(error: Exception) -> None:
    """Exit with 1 and a message if the user can fix the error.

    Raises:
        typer.Exit: after printing the message.
    """
    from tag2mask.files.os_errors import os_error_text

    if isinstance(error, Tag2MaskError):
        _fail(str(error), error)
    elif isinstance(error, MemoryError):
        _fail("out of memory. Lower train_cam.batch_size, runtime.threads or predict.tile", error)
    elif isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        _fail(os_error_text(OSError(errno.EAGAIN, "")), error)
    elif isinstance(error, OSError) and error.errno not in (errno.EPIPE, None):
        _fail(os_error_text(error), error)


def _fail(message: str, error: BaseException) -> None:
    from tag2mask.cli.console import print_message

    if os.environ.get("TAG2MASK_DEBUG") == "1":
        raise error
    print_message(f"error: {message}")
    raise typer.Exit(1) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tag2mask {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            metavar="",
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Weakly supervised semantic segmentation from image-level tags (SEAM)."""
    # Read when torch is imported, later: with several devices each process would log a warning that
    # concerns only us (an unneeded search for unused parameters).
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder of photos and tags.", metavar="DIR")],
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    source: Source = None,
    corrections: CorrectionsFolder = None,
) -> None:
    """Count photos, tags and masks, and report all problems at once."""
    from tag2mask.cli.tables import show_data
    from tag2mask.data.checks.data_folder import check_data
    from tag2mask.data.inventory import SourceOptions
    from tag2mask.pipeline.enough_photos import few_photos
    from tag2mask.pipeline.object_sizes import seen_objects

    settings = load_chosen_recipe(recipe, overrides, source=source)
    section = settings.prepare
    report = check_data(
        folder, section.source, SourceOptions.of(section), progress=True, corrections=corrections
    )
    few = ""
    if settings.masks is None:  # the tags teach
        few = few_photos(report.training_photos, report.photos.get("train", 0))
    show_data(report, (seen_objects(settings, report.sizes), few))
    if report.errors:
        raise typer.Exit(1)


data_app.command("import")(data_import.data_import)
masks_app.command("export")(masks.export)
masks_app.command("import")(masks.import_)
masks_app.command("score")(masks.score)


@recipe_app.command("list")
def recipe_list() -> None:
    """List the shipped recipes."""
    from tag2mask.cli.tables import show_recipes
    from tag2mask.recipe.loading import load_recipe, shipped_recipes

    show_recipes({name: load_recipe(name).description for name in shipped_recipes()})


@recipe_app.command("show")
def recipe_show(recipe: _Recipe, overrides: Overrides = None) -> None:
    """Print a recipe with every setting."""
    from tag2mask.cli.console import print_text
    from tag2mask.recipe.loading import dump_recipe, load_recipe

    print_text(dump_recipe(load_recipe(recipe, overrides or (), allow_modules=True)).rstrip())


@recipe_app.command("check")
def recipe_check(recipe: _Recipe, overrides: Overrides = None) -> None:
    """Check a recipe for unknown settings and impossible values, all at once."""
    from tag2mask.cli.console import print_text
    from tag2mask.recipe.loading import load_recipe

    load_recipe(recipe, overrides or (), allow_modules=True)
    print_text(f"{recipe}: fine")


_GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    START: (run.demo, run.run, run.status),
    CORRECT: (review.ask, review.review),
    TRAINED: (predict.predict, predict.export),
    STEPS: (
        steps.prepare,
        training.train_cam,
        steps.infer_cam,
        steps.affinity_labels,
        training.train_affinity,
        steps.walk,
        steps.pseudo_masks,
        training.train_segmenter,
        steps.evaluate,
        steps.report,
    ),
    EXPERIMENTS: (experiments.compare, experiments.tune, experiments.ablate),
}
for _group, _commands in _GROUPS.items():
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)
