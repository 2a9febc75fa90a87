"""A run that starts from the finished steps of another one, with other settings.

Nothing that is done in the new run changes the other one. Files that are only ever replaced by
renaming are hard links; all others, such as journals, which are appended to, are copies.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from tag2mask.artifacts.handles import Handle, ReportPage
from tag2mask.artifacts.manifest import read_identity
from tag2mask.errors import RunFolderError
from tag2mask.files.os_errors import make_folder, readable_os_errors
from tag2mask.files.walking import files_under
from tag2mask.pipeline.status import (
    folder_states,
    only_data_changed,
    own_recipe,
    redone_folders,
    steps_of,
)
from tag2mask.recipe.loading import RECIPE
from tag2mask.recipe.schema import Recipe

LINKED = frozenset({".npz", ".png", ".jpg", ".safetensors"})
"""Suffixes of files that steps replace by renaming: maps, masks, pictures, networks."""
_UNFINISHED = ".branch-"


def recipe_to_branch(run: Path, out: Path) -> Path:
    """Return the recipe of a run that another one is to start from.

    Raises:
        RunFolderError: no run folder with a recipe, or one run folder is inside the other.
    """
    recipe = own_recipe(run)
    if recipe is None:
        raise RunFolderError(
            f"no run to start from: it has no {RECIPE}",
            where=run,
            fix="Give the --out of a `tag2mask run`.",
        )
    if out.resolve().is_relative_to(run.resolve()):
        raise RunFolderError(
            "the new run would be inside the run that it starts from",
            where=out,
            fix="Give an --out outside of it.",
        )
    return recipe


def held_steps(run: Path, recipe: Recipe, redo: str | None = None) -> list[type[Handle]]:
    """Return the finished steps of a run that a recipe would make the same, in order.

    Networks that an update keeps are among them, even where steps before them are not. The report
    is not: it is written in seconds.

    Args:
        run: the run folder.
        recipe: the recipe of the new run.
        redo: the first step that is to be repeated; None: none.

    Raises:
        RunFolderError: a damaged run folder, or no step ``redo``.
    """
    redone = {kind.step for kind, _ in redone_folders(recipe, run, redo)}
    kinds = {kind.step: kind for kind in steps_of(recipe)}
    return [
        kinds[found.step]
        for found in folder_states(run, recipe)
        if (found.folder.state == "fresh" or only_data_changed(found))
        and found.step not in redone
        and found.step != ReportPage.step
    ]


def is_begun(out: Path) -> bool:
    """Return whether a new run has all steps that it takes from another one."""
    return own_recipe(out) is not None


def copy_steps(run: Path, out: Path, kinds: Sequence[type[Handle]]) -> None:
    """Link or copy the folders of finished steps into a new run.

    Each appears at once, so that an interrupted call is continued by the next one.

    Args:
        run: the run folder.
        out: the new run folder; steps that it already has are left as they are.
        kinds: the steps.

    Raises:
        DataError: folders are nested too deep, or too many links lead to one.
        RunFolderError: a folder changed meanwhile, or can't be written.
    """
    make_folder(out)
    for left in out.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    for kind in kinds:
        source, target = run / kind.step, out / kind.step
        if target.exists():
            continue
        before = read_identity(source)
        unfinished = out / f"{_UNFINISHED}{secrets.token_hex(6)}"
        try:
            with readable_os_errors(target):
                _copy_folder(source, unfinished)
                if read_identity(source) != before or before is None:
                    raise RunFolderError(
                        f"another process has changed {kind.step} meanwhile",
                        where=source,
                        fix="Run the same command again once it has ended.",
                    )
                unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy the files of a folder, those behind links too, without its lock and temporary files."""
    target.mkdir(parents=True)
    for name in files_under(source):
        if any(part.startswith(".") for part in name.split("/")):
            continue
        file, copy = source / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in LINKED:
            _link_file(file.resolve(), copy)
        else:
            shutil.copy2(file, copy)


def _link_file(source: Path, target: Path) -> None:
    """Make a hard link, or a copy with the same time where links are impossible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
