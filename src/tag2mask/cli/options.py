"""Options that several commands share, the recipe they select, and how a command ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.errors import RunFolderError
from tag2mask.recipe.data_layouts import LAYOUTS
from tag2mask.runtime.launcher import find_launch, is_first_process

if TYPE_CHECKING:
    from tag2mask.artifacts.handles import Handle, PreparedData
    from tag2mask.recipe.schema import Recipe
    from tag2mask.runtime.ranks import Ranks
    from tag2mask.runtime.session import Runtime

    SourceName = str
else:
    SourceName = StrEnum("SourceName", {name: name for name in LAYOUTS})


DEFAULT_RECIPE = "lite0-cpu"
EXIT_SKIPPED = 3
"""Exit code where photos were skipped or rows failed, and the rest was done."""


class TagChoice(StrEnum):
    """Which tags decide the maps of a photo."""

    KNOWN = "known"
    UNTAGGED = "untagged"
    PREDICTED = "predicted"


DataFolder = Annotated[Path, typer.Option("--data", help="Folder of photos and tags.")]
Prepared = Annotated[Path, typer.Option("--data", help="Folder written by `prepare`.")]
PreparedOrNone = Annotated[Path | None, typer.Option("--data", help="Folder written by `prepare`.")]
Maps = Annotated[Path, typer.Option("--maps", help="Folder written by `infer-cam` or `walk`.")]


def _on_this_computer(folder: Path) -> Path:
    """Reject an address, which would pass for a relative path."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(folder)):
        raise typer.BadParameter("a folder on this computer only; copy it to a storage afterwards")
    return folder


Out = Annotated[Path, typer.Option("--out", callback=_on_this_computer, help="Folder to write.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE", help="Shipped recipe or YAML file.")
]
RunRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="Shipped recipe or YAML file; default: the run's own, else lite0-cpu.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; repeatable."),
]
Source = Annotated[SourceName | None, typer.Option("--source", help="Layout of the data folder.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", metavar="", help="Skip unreadable photos and list them.")
]
Redo = Annotated[
    bool, typer.Option("--redo", metavar="", help="Redo the step; its earlier result is deleted.")
]
Yes = Annotated[
    bool, typer.Option("--yes", metavar="", help="Delete for --redo without asking on a terminal.")
]
Compare = Annotated[
    list[Path] | None,
    typer.Option(
        "--compare", metavar="RUN", help="Another run folder to show in the report; repeatable."
    ),
]
AllowModules = Annotated[
    bool,
    typer.Option(
        "--allow-modules",
        metavar="",
        help="Import the modules of your own that a run's recipe or a trained network names.",
    ),
]
CorrectionsFolder = Annotated[
    Path | None,
    typer.Option("--corrections", metavar="DIR", help="Decisions and masks of `review`."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", metavar="", help="Show what would run and an estimate of its cost."),
]


def load_chosen_recipe(
    name: str,
    overrides: Sequence[str] | None,
    *,
    skip_bad: bool = False,
    source: SourceName | None = None,
    allow_modules: bool = True,
) -> Recipe:
    """Load a recipe with ``--set`` and with the options that abbreviate a ``--set``.

    Args:
        name: name or file of the recipe.
        overrides: values of ``--set``.
        skip_bad: whether ``--skip-bad`` is given.
        source: value of ``--source``.
        allow_modules: False: the command would import modules that the recipe names, and
            ``--allow-modules`` is not given.
    """
    from tag2mask.recipe.loading import load_recipe

    return load_recipe(
        name,
        [*(overrides or ()), *option_overrides(skip_bad=skip_bad, source=source)],
        allow_modules=allow_modules,
    )


def option_overrides(*, skip_bad: bool, source: SourceName | None) -> list[str]:
    """Return the ``--set`` values that other options abbreviate."""
    from tag2mask.recipe.fields import Section
    from tag2mask.recipe.schema import Recipe

    options = [] if source is None else [f"prepare.source={source}"]
    if skip_bad:
        for key, field in Recipe.model_fields.items():
            section = field.annotation
            if (
                isinstance(section, type)
                and issubclass(section, Section)
                and "skip_bad" in section.model_fields
            ):
                options.append(f"{key}.skip_bad=true")
    return options


def run_recipe_or_default(path: Path) -> str:
    """Return the recipe of the run that a path belongs to, or the default one."""
    from tag2mask.pipeline.status import find_run_recipe

    return str(find_run_recipe(path) or DEFAULT_RECIPE)


def step_recipe(chosen: str | None, *folders: Path | None) -> str:
    """Return the recipe of a single step, after printing its path if it is that of a run.

    Args:
        chosen: value of ``--recipe``; None: the recipe of a run, or the default one.
        folders: what the step writes and reads; the first one that belongs to a run decides.
    """
    from tag2mask.pipeline.status import find_run_recipe, is_run_recipe

    if chosen is not None:
        return chosen
    found = (find_run_recipe(folder) for folder in folders if folder is not None)
    # Only those that `run` wrote: others might name modules without being asked for.
    own = next((file for file in found if file is not None and is_run_recipe(file)), None)
    if own is None:
        return DEFAULT_RECIPE
    _print_recipe(own)
    return str(own)


def own_recipe_or_default(out: Path, source: Path | None) -> str:
    """Return the recipe that a run folder keeps, after printing its path, or the default one.

    Args:
        out: the run folder.
        source: another run to start from, whose recipe is taken; None: none.
    """
    from tag2mask.pipeline.branch import recipe_to_branch
    from tag2mask.pipeline.status import own_recipe

    own = own_recipe(out) if source is None else recipe_to_branch(source, out)
    if own is None:
        return DEFAULT_RECIPE
    _print_recipe(own)
    return str(own)


def _print_recipe(file: Path) -> None:
    from tag2mask.cli.console import print_text

    if is_first_process():
        print_text(f"recipe: {file}")


def connect(recipe: Recipe) -> None:
    """Under a launcher, connect the processes before any folder is looked at.

    Else one that fails because its node lacks a folder would leave the others waiting for it.
    """
    if find_launch() is not None:
        from tag2mask.pipeline import run as pipeline

        pipeline.start_runtime(recipe.runtime)


def start_runtime(recipe: Recipe, out: Path, data: PreparedData | None = None) -> Runtime:
    """Start the devices and processes that a recipe asks for.

    On several machines it is checked that they have the same recipe and see the same folders.

    Args:
        recipe: the recipe.
        out: folder that the step writes.
        data: photos that the step reads.
    """
    from tag2mask.pipeline import nodes
    from tag2mask.pipeline import run as pipeline

    runtime = pipeline.start_runtime(recipe.runtime)
    nodes.check_same_work(runtime, recipe)
    nodes.check_shared_folder(runtime, out)
    if data is not None:
        nodes.check_same_photos(runtime, data.path)
    return runtime


def on_first_process_only() -> None:
    """End the other processes of a launcher: this command does not share its work."""
    if not is_first_process():
        raise typer.Exit


@contextmanager
def redo_step(
    kind: type[Handle], out: Path, redo: bool, yes: bool, ranks: Ranks | None = None
) -> Iterator[None]:
    """Run a step inside the block; with ``redo``, as if its folder were empty.

    What is deleted is printed, on a terminal after a question. The earlier files are deleted when
    the step has ended, or has begun work that can be resumed; where it fails before, they are kept.

    Args:
        kind: the step.
        out: its folder.
        redo: False: only run the block.
        yes: don't ask.
        ranks: processes of the step, all of which wait until the folder looks empty; else one of
            them could take the old one for a complete one.

    Raises:
        RunFolderError: the answer was no, or as `redone_folder`.
    """
    from tag2mask.artifacts.redo import put_back_moved, redone_folder

    with ExitStack() as opened:

        def set_aside() -> None:
            if is_first_process():
                put_back_moved(out)
                confirm_deletion([(kind, out)], yes)
                opened.enter_context(redone_folder(kind, out))

        if redo and ranks is not None:
            ranks.gather_results(set_aside)
        elif redo:
            set_aside()
        yield


def confirm_deletion(folders: Sequence[tuple[type[Handle], Path]], yes: bool) -> None:
    """Print which steps are deleted, and ask on a terminal unless ``yes`` is set.

    Raises:
        RunFolderError: the answer was no, a folder is not of its step, or damaged.
    """
    from tag2mask.cli.console import deleted_text, print_message

    text = deleted_text(folders)
    if text:
        print_message(text)
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            try:
                agreed = typer.confirm("Delete?", err=True)
            except typer.Abort:  # the end of the input
                agreed = False
            if not agreed:
                raise RunFolderError("nothing was deleted", where="--redo")


def finish_step(handle: Handle) -> None:
    """Print a step's folder, counts and warnings, and exit with 3 where photos were skipped."""
    from tag2mask.cli.console import show_findings, show_handle

    if is_first_process():
        show_findings(handle)
        show_handle(handle)
    exit_if_skipped(handle.manifest.skipped)


def exit_if_skipped(skipped: Sequence[str]) -> None:
    """Exit with 3 where photos were skipped, after printing the first ones."""
    from tag2mask.cli.console import show_skipped

    if skipped:
        if is_first_process():
            show_skipped(skipped)
        raise typer.Exit(EXIT_SKIPPED)
