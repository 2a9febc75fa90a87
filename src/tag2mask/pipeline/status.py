"""Where a run stands: read from its folders, nothing is written.

Imports neither torch nor a stage, so that ``tag2mask status`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from tag2mask.artifacts.handles import (
    MODELS,
    RUN_STEPS,
    STEP_NAMES,
    STEPS,
    WALKED_MAPS,
    Handle,
    PseudoMaskFolder,
    RunStep,
    section_name,
)
from tag2mask.artifacts.identity import FolderStatus, folder_status
from tag2mask.errors import DataError, RunFolderError, nearest_hint
from tag2mask.recipe.fields import Section
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe

RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class StepStatus:
    """Where one step of a run stands."""

    step: str
    folder: FolderStatus


def status(run: Path) -> list[StepStatus]:
    """Tell where each step of a run stands: its state, what it reads, and why it is stale.

    The data folder itself is not listed; ``prepare`` compares it when it runs.

    Raises:
        RunFolderError: no run folder, or a damaged one.
    """
    if not run.is_dir():
        raise RunFolderError("no run folder", where=run, fix="Give the --out of a `tag2mask run`.")
    recipe = load_recipe(run / RECIPE) if (run / RECIPE).is_file() else None
    if recipe is None and not any((run / name).is_dir() for name in STEP_NAMES):
        raise RunFolderError(
            f"not a run folder: neither {RECIPE} nor a step's folder in it",
            where=run,
            fix="Give the --out of a `tag2mask run`.",
        )
    return folder_states(run, recipe)


def find_run_recipe(path: Path) -> Path | None:
    """The recipe of the run that a path lies in: the run, a step's folder, or a file in that."""
    path = path.absolute()
    places = [
        path,
        *(inner.parent for inner in (path, path.parent) if inner.name in STEP_NAMES),
    ]
    return next((place / RECIPE for place in places if (place / RECIPE).is_file()), None)


def steps_of(recipe: Recipe) -> tuple[type[Handle], ...]:
    """The steps that a recipe takes, in order."""
    return tuple(step.handle for step in RUN_STEPS if _is_enabled(recipe, step))


def includes(recipe: Recipe, kind: type[Handle]) -> bool:
    """Return whether a recipe includes a step."""
    return kind in steps_of(recipe)


def _is_enabled(recipe: Recipe, step: RunStep) -> bool:
    return step.enabled_by is None or bool(attrgetter(step.enabled_by)(recipe))


def folder_states(run: Path, recipe: Recipe | None) -> list[StepStatus]:
    """State of every step's folder against a recipe, stale where an earlier step is not fresh."""
    states: list[StepStatus] = []
    for kind in STEPS if recipe is None else steps_of(recipe):
        section = None if recipe is None else section_of(recipe, kind)
        found = folder_status(kind, run / kind.step, section)
        if recipe is not None and kind is PseudoMaskFolder:
            found = _of_these_maps(found, recipe)
        earlier = tuple(
            f"{done.step} is {done.folder.state}"
            for done in states
            if done.folder.state != "fresh" and not only_trained_on_older_data(done)
        )
        if found.state in ("fresh", "stale") and earlier:
            found = replace(found, state="stale", reasons=(*found.reasons, *earlier))
        states.append(StepStatus(kind.step, found))
    return states


def _of_these_maps(found: FolderStatus, recipe: Recipe) -> FolderStatus:
    """Masks made of the maps before the walk are other ones than those made after it."""
    if not found.reads or (WALKED_MAPS in found.reads) == recipe.walk.enabled:
        return found
    now = str(recipe.walk.enabled).lower()
    was = str(not recipe.walk.enabled).lower()
    reason = f"walk.enabled: {was} -> {now}"
    return replace(
        found,
        state="stale" if found.state == "fresh" else found.state,
        reasons=(reason, *found.reasons),
        settings=(reason, *found.settings),
    )


def only_trained_on_older_data(found: StepStatus) -> bool:
    """Whether this is a model kept over a change of the data, which later steps may build on."""
    folder = found.folder
    return (
        found.step in {model.step for model in MODELS}
        and folder.state == "stale"
        and all(
            reason.startswith(("data: changed", "labels: changed", "masks: changed"))
            for reason in folder.reasons
        )
    )


def section_of(recipe: Recipe, kind: type[Handle]) -> Section:
    """A step's section of a recipe."""
    section = getattr(recipe, section_name(kind.step))
    assert isinstance(section, Section)
    return section


def step_index(step: str, recipe: Recipe) -> int:
    """Place of a step among those of a recipe; RunFolderError names the nearest known one."""
    left_out = {row.name: row.enabled_by for row in RUN_STEPS if not _is_enabled(recipe, row)}
    if step in left_out:
        raise RunFolderError(
            f"the recipe leaves {step} out", where=left_out[step], fix=f"Set {left_out[step]}=true."
        )
    names = [kind.step for kind in steps_of(recipe)]
    if step not in names:
        raise RunFolderError(
            f"no step {step!r}{nearest_hint(step, names)}",
            fix=f"The steps are: {', '.join(names)}.",
        )
    return names.index(step)


def check_redo(recipe: Recipe, until: str | None, redo: str | None) -> None:
    """Refuse to delete what is not to be made anew.

    Raises:
        DataError: ``redo`` comes after ``until``.
        RunFolderError: no such step.
    """
    if (
        until is not None
        and redo is not None
        and step_index(redo, recipe) > step_index(until, recipe)
    ):
        raise DataError(
            f"{redo} comes after {until}: nothing would be made anew",
            where="--redo",
            fix="Let --until name a later step, or leave it out.",
        )


def other_settings(refused: Sequence[StepStatus], out: Path) -> RunFolderError:
    """What a run ends with whose folders were made with other settings than its recipe's."""
    differences = [reason for found in refused for reason in found.folder.settings]
    return RunFolderError(
        f"the run was made with other settings: {'; '.join(differences)}",
        where=out,
        fix="Give another --out, go back to the old settings, or make the steps anew with "
        f"`--redo {refused[0].step}`.",
    )
