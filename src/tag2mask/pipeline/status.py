"""The state of a run, read from its folders; nothing is written.

Imports neither torch nor a step, so that ``tag2mask status`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from tag2mask.artifacts.handles import (
    WALKED_MAPS,
    Evaluation,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
    section_name,
)
from tag2mask.artifacts.identity import FolderStatus, folder_status
from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.artifacts.step_table import MODELS, RUN_STEPS, STEP_NAMES, STEPS, RunStep
from tag2mask.errors import DataError, RunFolderError, nearest_hint
from tag2mask.recipe.fields import Section
from tag2mask.recipe.loading import RECIPE, RECIPE_HEAD, load_recipe
from tag2mask.recipe.schema import Recipe

_DATA_CHANGES = ("data: changed", "labels: ", "maps: ", f"{WALKED_MAPS}: ", "masks: ")
"""Begin the reasons that a change of the data leaves in a step; an unfinished ``prepare``, whose
classes may be others, is none."""


@dataclass(frozen=True)
class StepStatus:
    """The state of one step of a run.

    Attributes:
        step: its name.
        folder: the state of its folder.
        data_only: whether at most data that ``prepare`` has taken in differs.
    """

    step: str
    folder: FolderStatus
    data_only: bool = False


def status(run: Path) -> list[StepStatus]:
    """Return the state of each step of a run: what it reads, and why it is stale.

    The data folder is listed and compared with what was prepared; no photo is opened.

    Raises:
        RunFolderError: no run folder, or a damaged one.
    """
    if not run.is_dir():
        raise RunFolderError("no run folder", where=run, fix="Give the --out of a `tag2mask run`.")
    recipe = (
        load_recipe(run / RECIPE, effects=False, allow_modules=True)
        if (run / RECIPE).is_file()
        else None
    )
    if recipe is None and not any((run / name).is_dir() for name in STEP_NAMES):
        raise RunFolderError(
            f"not a run folder: neither {RECIPE} nor a step's folder in it",
            where=run,
            fix="Give the --out of a `tag2mask run`.",
        )
    return folder_states(run, recipe, _compared_data(run / PreparedData.step))


def _compared_data(prepared: Path) -> FolderStatus | None:
    """Compare the data with what was prepared; None: it is the same, or nothing was prepared."""
    from tag2mask.data.prepare.plan import changes_since

    try:
        changes = changes_since(prepared)
    except DataError as error:
        return FolderStatus("fresh", (f"not compared with the data: {error.what}",))
    return FolderStatus("stale", tuple(f"{text} since" for text in changes)) if changes else None


def complete_steps(run: Path, states: Sequence[StepStatus]) -> list[Handle]:
    """Return the complete steps of a run, whether their folders are fresh or stale."""
    complete = {found.step for found in states if found.folder.state in ("fresh", "stale")}
    return [kind(run / kind.step) for kind in STEPS if kind.step in complete]


def is_run_recipe(recipe: Path) -> bool:
    """Return whether a recipe's file exists and was written by a run."""
    return recipe.is_file() and recipe.read_bytes().startswith(RECIPE_HEAD.encode())


def own_recipe(run: Path) -> Path | None:
    """Return the recipe that a run folder keeps; None: no run has begun there."""
    recipe = run / RECIPE
    begun = is_run_recipe(recipe) or any((run / name).is_dir() for name in STEP_NAMES)
    return recipe if begun and recipe.is_file() else None


def find_run_recipe(path: Path) -> Path | None:
    """Return the recipe of the run that a path belongs to.

    Args:
        path: the run folder, a step's folder inside it, or a file in that.
    """
    path = path.absolute()
    steps = [inner for inner in (path, path.parent) if inner.name in STEP_NAMES]
    recipes = [folder / RECIPE for folder in (path, *(step.parent for step in steps))]
    return next((recipe for recipe in recipes if recipe.is_file()), None)


def steps_of(recipe: Recipe) -> tuple[type[Handle], ...]:
    """Return the steps that a recipe includes, in order."""
    return tuple(step.handle for step in RUN_STEPS if _is_enabled(recipe, step))


def includes(recipe: Recipe, kind: type[Handle]) -> bool:
    """Return whether a recipe includes a step."""
    return kind in steps_of(recipe)


def _is_enabled(recipe: Recipe, step: RunStep) -> bool:
    if step.makes_masks and recipe.masks is not None:
        return False
    return not _excluding(recipe, step)


def _excluding(recipe: Recipe, step: RunStep) -> list[tuple[str, object]]:
    """Return the keys whose values exclude a step, with those that would include it."""
    return [(key, value) for key, value in step.enabled_by if attrgetter(key)(recipe) != value]


def folder_states(
    run: Path, recipe: Recipe | None, data: FolderStatus | None = None
) -> list[StepStatus]:
    """Return the state of every step's folder.

    Args:
        run: the run folder.
        recipe: settings to compare with; None: settings aren't compared.
        data: state and reasons of ``prepare`` where its settings are the same, from a comparison
            with the data; None: not compared, or no difference.

    Returns:
        The states in order; a folder is stale, too, where an earlier step is not fresh.
    """
    states: list[StepStatus] = []
    for kind in STEPS if recipe is None else steps_of(recipe):
        section = None if recipe is None else section_of(recipe, kind)
        found = folder_status(kind, run / kind.step, section)
        if data is not None and kind is PreparedData and found.state == "fresh":
            found = replace(found, state=data.state, reasons=data.reasons)
        if recipe is not None and kind is PseudoMaskFolder:
            found = _compare_walk(found, recipe)
        if recipe is not None and kind in (SegmenterModel, Evaluation):
            found = _compare_masks(found, run, kind, recipe)
        earlier = [
            done for done in states if done.folder.state != "fresh" and not only_data_changed(done)
        ]
        data_only = _has_same_origin(kind, found) and all(done.data_only for done in earlier)
        if found.state in ("fresh", "stale") and earlier:
            names = (f"{done.step} is {done.folder.state}" for done in earlier)
            found = replace(found, state="stale", reasons=(*found.reasons, *names))
        states.append(StepStatus(kind.step, found, data_only))
    return states


def _has_same_origin(kind: type[Handle], found: FolderStatus) -> bool:
    """Return whether a folder differs by at most the data from what would be made now.

    A folder without records says nothing; a network that is trained again is another one.
    """
    if found.state == "missing" or (found.state == "partial" and kind in MODELS):
        return False
    return not found.settings and all(text.startswith(_DATA_CHANGES) for text in found.reasons)


def _compare_walk(found: FolderStatus, recipe: Recipe) -> FolderStatus:
    """Mark masks as stale that were made from the maps before the walk instead of after it."""
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


def _compare_masks(
    found: FolderStatus, run: Path, kind: type[Handle], recipe: Recipe
) -> FolderStatus:
    """Mark what was made from other masks than the recipe's; a moved or copied folder is none."""
    identity = read_identity(run / kind.step)
    used = None if identity is None else (identity.inputs | identity.coverage).get("masks")
    if used is None or used.path is None:
        return found
    before = (run / kind.step / used.path).resolve()
    now = (run / PseudoMaskFolder.step if recipe.masks is None else Path(recipe.masks)).resolve()
    if before == now:
        return found
    made = read_identity(now)
    reasons = tuple(reason for reason in found.reasons if not reason.startswith("masks: "))
    if isinstance(made, Manifest) and made.fingerprint == used.fingerprint:
        is_fresh = found.state == "stale" and not reasons
        return replace(found, state="fresh" if is_fresh else found.state, reasons=reasons)
    reason = f"masks: {before} -> {now}"
    return replace(
        found,
        state="stale" if found.state == "fresh" else found.state,
        reasons=(reason, *reasons),
        settings=(reason, *found.settings),
    )


def only_data_changed(found: StepStatus) -> bool:
    """Return whether this is a model that only a change of the data made stale.

    With ``--update`` such a model is kept, and later steps build on it.
    """
    return is_model(found) and found.folder.state == "stale" and found.data_only


def is_model(found: StepStatus) -> bool:
    """Return whether a step trains a network."""
    return found.step in {model.step for model in MODELS}


def section_of(recipe: Recipe, kind: type[Handle]) -> Section:
    """Return a step's section of a recipe."""
    section = getattr(recipe, section_name(kind.step))
    assert isinstance(section, Section)
    return section


def step_index(step: str, recipe: Recipe) -> int:
    """Return the index of a step among those that a recipe includes.

    Raises:
        RunFolderError: no such step, with the nearest known one, or one that the recipe excludes.
    """
    names = [kind.step for kind in steps_of(recipe)]
    excluded = {row.name: row for row in RUN_STEPS if not _is_enabled(recipe, row)}
    if step in excluded and excluded[step].makes_masks and recipe.masks is not None:
        raise RunFolderError(
            f"a run that is given masks leaves {step} out",
            where="--masks",
            fix=f"Its steps are: {', '.join(names)}. With `--set masks=null` it makes the masks.",
        )
    if step in excluded:
        key, value = _excluding(recipe, excluded[step])[0]
        needed = value if isinstance(value, str) else str(value).lower()
        raise RunFolderError(f"the recipe leaves {step} out", where=key, fix=f"Set {key}={needed}.")
    if step not in names:
        raise RunFolderError(
            f"no step {step!r}{nearest_hint(step, names)}",
            fix=f"The steps are: {', '.join(names)}.",
        )
    return names.index(step)


def redone_folders(recipe: Recipe, out: Path, redo: str | None) -> list[tuple[type[Handle], Path]]:
    """Return the steps that ``redo`` deletes with their folders; of None, none.

    Later steps that the recipe leaves out are among them.

    Raises:
        RunFolderError: no such step.
    """
    if redo is None:
        return []
    first = STEPS.index(steps_of(recipe)[step_index(redo, recipe)])
    return [(kind, out / kind.step) for kind in STEPS[first:]]


def check_redo(recipe: Recipe, until: str | None, redo: str | None) -> None:
    """Check that everything ``redo`` deletes is created again.

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
            f"{redo} comes after {until}: nothing would be redone",
            where="--redo",
            fix="Let --until name a later step, or leave it out.",
        )


def settings_error(different: Sequence[StepStatus], out: Path) -> RunFolderError:
    """Return the error for folders that were made with other settings than the recipe's."""
    differences = [reason for found in different for reason in found.folder.settings]
    return RunFolderError(
        f"the run was made with other settings: {'; '.join(differences)}",
        where=out,
        fix="Give another --out, go back to the old settings, or repeat the steps with "
        f"`--redo {different[0].step}`.",
    )
