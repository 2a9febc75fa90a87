"""What the commands share: their options, the recipe that these choose, and how a command ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.artifacts.handles import Handle
from tag2mask.artifacts.step_folder import remove_step_folder
from tag2mask.cli.console import show_handle, show_skipped
from tag2mask.pipeline.status import find_run_recipe
from tag2mask.recipe.fields import Section
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.ranks import Ranks

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime


DEFAULT_RECIPE = "lite0-cpu"
LEFT_OUT = 3


class SourceName(StrEnum):
    """The layouts of a data folder."""

    AUTO = "auto"
    VOC = "voc"
    CSV = "csv"
    FOLDERS = "folders"
    COCO = "coco"


class TagChoice(StrEnum):
    """Whose tags decide which maps a photo gets."""

    KNOWN = "known"
    UNTAGGED = "untagged"
    PREDICTED = "predicted"


DataFolder = Annotated[Path, typer.Option("--data", help="Folder of photos and tags.")]
Prepared = Annotated[Path, typer.Option("--data", help="Folder that `prepare` wrote.")]
Maps = Annotated[Path, typer.Option("--maps", help="Folder that `infer-cam` or `walk` wrote.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Shipped recipe, or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value; repeatable."),
]
Source = Annotated[SourceName | None, typer.Option("--source", help="Layout of the data folder.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave unreadable photos out and list them.")
]
Redo = Annotated[bool, typer.Option("--redo", help="Delete the step's folder first.")]
Compare = Annotated[
    list[Path] | None, typer.Option("--compare", help="Another run to show beside; repeatable.")
]


def chosen_recipe(
    name: str,
    overrides: Sequence[str] | None,
    *,
    skip_bad: bool = False,
    source: SourceName | None = None,
) -> Recipe:
    """Load a recipe with ``--set`` and with the options that are short for it."""
    return load_recipe(name, [*(overrides or ()), *short_options(skip_bad=skip_bad, source=source)])


def short_options(*, skip_bad: bool, source: SourceName | None) -> list[str]:
    """The ``--set`` that other options are short for."""
    options = [] if source is None else [f"prepare.source={source.value}"]
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


def own_recipe(path: Path) -> str:
    """The recipe of the run that a path lies in, else the default one."""
    return str(find_run_recipe(path) or DEFAULT_RECIPE)


def start_runtime(settings: Recipe) -> Runtime:
    """Start the devices and processes that a recipe asks for."""
    from tag2mask.runtime.session import Runtime

    return Runtime.start(**settings.runtime.model_dump())


def clear(kind: type[Handle], out: Path, redo: bool, ranks: Ranks | None = None) -> None:
    """Delete a step's folder where it is to be made anew; all ranks wait for it.

    A step of several processes must give its ranks: else one of them could take the old folder for
    a complete one.
    """

    def remove() -> None:
        if is_first_process():
            remove_step_folder(kind, out)

    if redo and ranks is not None:
        ranks.gather_results(remove)
    elif redo:
        remove()


def is_first_process() -> bool:
    """Whether this is rank 0, before and after the other ranks are started."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK"))


def done(handle: Handle) -> None:
    """Print where a step's folder lies, and exit with 3 where photos were left out."""
    if is_first_process():
        show_handle(handle)
    end(handle.manifest.skipped)


def end(skipped: Sequence[str]) -> None:
    """Exit with 3 where photos were left out, naming the first ones."""
    if skipped:
        if is_first_process():
            show_skipped(skipped)
        raise typer.Exit(LEFT_OUT)
