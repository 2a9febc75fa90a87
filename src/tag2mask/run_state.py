"""Where a run stands, and what running it would do: read from its folders, nothing is written.

Imports neither torch nor a stage, so that ``tag2mask status`` answers at once; a dry run imports
``prepare``, to look at the data as it does.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tag2mask.artifacts import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Evaluation,
    FolderStatus,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
    WalkedMaps,
    folder_status,
)
from tag2mask.classes import ClassSet, nearest_hint
from tag2mask.errors import (
    DataChangedError,
    DataError,
    ProblemsError,
    RunFolderError,
    Tag2MaskError,
)
from tag2mask.estimates import ASSUMED_CLASSES, Cost, estimate
from tag2mask.files import refuse_run_inside_data
from tag2mask.handles import WALKED_MAPS
from tag2mask.recipe import Recipe, load_recipe
from tag2mask.sections import Prepare, Section

if TYPE_CHECKING:
    from tag2mask.data.samples import Inventory

STEPS: tuple[type[Handle], ...] = (
    PreparedData, CamModel, CamMaps, AffinityLabels, AffinityModel, WalkedMaps, PseudoMaskFolder,
    SegmenterModel, Predictions, Evaluation, ReportPage,
)  # fmt: skip
"""All steps in order."""
MODELS = (CamModel, AffinityModel, SegmenterModel)
"""Trained networks, which a change of the data may keep."""
RECIPE = "recipe.yaml"
Action = Literal["run", "resume", "skip", "update", "refuse", "not reached"]
SAMPLED_PHOTOS = 64
"""Photos whose size an estimate looks at, at most."""


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
    if recipe is None and not any((run / kind.step).is_dir() for kind in STEPS):
        raise RunFolderError(f"not a run folder: neither {RECIPE} nor a step's folder in it",
                             where=run, fix="Give the --out of a `tag2mask run`.")
    return folder_states(run, recipe)


def recipe_beside(path: Path) -> Path | None:
    """The recipe of the run that a path lies in: the run, a step's folder, or a file in that."""
    path = path.absolute()
    places = [path, *(inner.parent for inner in (path, path.parent)
                      if inner.name in {kind.step for kind in STEPS})]
    return next((place / RECIPE for place in places if (place / RECIPE).is_file()), None)


def steps_of(recipe: Recipe) -> tuple[type[Handle], ...]:
    """The steps that a recipe takes, in order."""
    return tuple(kind for kind in STEPS if _leaving_out(recipe, kind) is None)


def _leaving_out(recipe: Recipe, kind: type[Handle]) -> str | None:
    """The key that leaves a step out of a run; None where none does."""
    if kind in (AffinityLabels, AffinityModel, WalkedMaps) and not recipe.walk.enabled:
        return "walk.enabled"
    if kind in (SegmenterModel, Predictions) and not recipe.train_segmenter.enabled:
        return "train_segmenter.enabled"
    return None


def folder_states(run: Path, recipe: Recipe | None) -> list[StepStatus]:
    """State of every step's folder against a recipe, stale where an earlier step is not fresh."""
    states: list[StepStatus] = []
    for kind in STEPS if recipe is None else steps_of(recipe):
        section = None if recipe is None else section_of(recipe, kind)
        found = folder_status(kind, run / kind.step, section)
        if recipe is not None and kind is PseudoMaskFolder:
            found = _of_these_maps(found, recipe)
        earlier = tuple(
            f"{done.step} is {done.folder.state}" for done in states
            if done.folder.state != "fresh" and not _only_trained_on_older_data(done)
        )  # fmt: skip
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
    return replace(found, state="stale" if found.state == "fresh" else found.state,
                   reasons=(reason, *found.reasons), settings=(reason, *found.settings))


def _only_trained_on_older_data(found: StepStatus) -> bool:
    """Whether this is a model kept over a change of the data, which later steps may build on."""
    folder = found.folder
    return (found.step in {kind.step for kind in MODELS} and folder.state == "stale"
            and all(reason.startswith(("data: changed", "labels: changed", "masks: changed"))
                    for reason in folder.reasons))


def section_of(recipe: Recipe, kind: type[Handle]) -> Section:
    """A step's section of a recipe."""
    section = getattr(recipe, kind.step.replace("-", "_"))
    assert isinstance(section, Section)
    return section


@dataclass(frozen=True)
class PlannedStep:
    """What a run would do with one step.

    Attributes:
        step: its name.
        action: run, resume, skip (fresh already), update (redo what changed), refuse, or not
            reached (it comes after a refused one).
        why: differences and states behind the action.
        cost: of the whole step, were it run from the start; None where nothing is computed.
    """

    step: str
    action: Action
    why: tuple[str, ...]
    cost: Cost | None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        train: number of training photos.
        val: number of validation photos.
        steps: in order.
        refusal: what the run would end with before it computes anything, and the ways out; None:
            nothing is refused.
    """

    train: int
    val: int
    steps: tuple[PlannedStep, ...]
    refusal: Tag2MaskError | None = None


def dry_run(data: Path, recipe: Recipe, out: Path, *, until: str | None = None,
            update: bool = False, redo: str | None = None) -> Plan:
    """Say which steps a run would take and what they would cost, roughly; writes nothing.

    The arguments are those of ``pipeline.run``. The data is listed and compared with what was
    prepared; of photos that are not prepared yet, some are opened.

    Raises:
        DataError: data that can't be listed, or a ``redo`` after ``until``.
        RunFolderError: no such step, or a damaged run folder.
    """
    steps = steps_of(recipe)
    end = len(steps) - 1 if until is None else step_index(until, recipe)
    first = len(steps) if redo is None else step_index(redo, recipe)
    if redo is not None and first > end:
        raise DataError(f"{redo} comes after {until}: nothing would be made anew", where="--redo",
                        fix="Let --until name a later step, or leave it out.")
    redone = {kind.step for kind in steps[first:]}
    refuse_run_inside_data(data, out)
    inventory = _listed(data, recipe.prepare)
    prepared = None if PreparedData.step in redone else out / PreparedData.step
    listing = _compared(inventory, data, recipe.prepare, prepared, update=update)
    train, val = _counts(inventory)
    costs = step_costs(recipe, train, val, _sampled_sizes(inventory), len(inventory.class_names))
    planned: list[PlannedStep] = []
    other_settings: list[StepStatus] = []
    refusal: Tag2MaskError | None = None
    for found in folder_states(out, recipe):
        state = _after(listing, found)
        action = "run" if state.step in redone else _action(state, update=update)
        refused: Tag2MaskError | None = (
            listing.refusal if state.step == PreparedData.step else None)
        if action == "refuse" and state.folder.settings:
            other_settings.append(state)
        elif action == "refuse":
            refused = refused or _trained_on_older_data(state, out)
        if refusal is not None or (other_settings and other_settings[0] is not state):
            action = "not reached"
        elif refused is not None:
            action, refusal = "refuse", refused
        why = state.folder.settings if action == "not reached" else state.folder.reasons
        cost = costs[state.step] if action in ("run", "resume", "update") else None
        planned.append(PlannedStep(state.step, action, why, cost))
        if state.step == steps[end].step:
            break
    if other_settings:  # a run looks for them before its first step
        refusal = _other_settings(other_settings, out)
    return Plan(train, val, tuple(planned), refusal)


@dataclass(frozen=True)
class _Listing:
    """What came of a listing that was compared with the prepared one.

    Attributes:
        refusal: what ``prepare`` would end with.
        changes: in the photos, tags and classes, that it would take in.
        masks: whether masks changed, which only what compares with them reads.
    """

    refusal: DataError | DataChangedError | None = None
    changes: tuple[str, ...] = ()
    masks: bool = False


def _compared(inventory: Inventory, data: Path, section: Prepare, prepared: Path | None, *,
              update: bool) -> _Listing:
    """Look at a listing as ``prepare`` would, and hold it against the finished folder if any."""
    from tag2mask.data.check import inventory_problems
    from tag2mask.stages.prepare import (
        _changes,
        _measure,
        _read_old,
        _refuse_changes,
        _without_bad,
    )

    old = None
    if prepared is not None:
        found = folder_status(PreparedData, prepared, section)
        if found.state in ("fresh", "stale") and not found.settings:
            old = _read_old(prepared)
    problems = inventory_problems(inventory)
    if prepared is None or old is None:
        try:
            _without_bad({"train": [], "val": []}, [], problems, data, section.skip_bad)
        except ProblemsError as error:
            return _Listing(error)
        except DataError:
            pass  # whether any photo can be read is found by opening all, which is the step's work
        return _Listing()
    samples, masks, found_problems = _measure(inventory, old)
    try:
        samples, masks, _ = _without_bad(samples, masks, problems + found_problems, data,
                                         section.skip_bad)
        classes = ClassSet(inventory.class_names)
        changes = tuple(_changes(old, samples, classes))
        if changes and not update:
            _refuse_changes(old, samples, classes, prepared, section, update=False)
    except (DataError, DataChangedError) as error:
        return _Listing(error)
    return _Listing(changes=changes, masks=old.masks != tuple(masks))


def _after(listing: _Listing, found: StepStatus) -> StepStatus:
    """Where a step stands once ``prepare`` has taken in what changed."""
    prepares = found.step == PreparedData.step
    if prepares and listing.refusal is not None:
        reasons: tuple[str, ...] = (listing.refusal.what, *found.folder.reasons)
    elif found.folder.state != "fresh" or not (listing.changes or listing.masks):
        return found
    elif prepares:
        reasons = listing.changes or ("the masks changed",)
    elif listing.changes and found.step not in {kind.step for kind in MODELS}:
        reasons = (f"{PreparedData.step} takes in changes",)
    elif listing.masks and found.step in (Evaluation.step, ReportPage.step):
        reasons = ("the masks changed",)
    else:
        return found
    return replace(found, folder=replace(found.folder, state="stale", reasons=reasons))


def _trained_on_older_data(found: StepStatus, out: Path) -> RunFolderError:
    return RunFolderError(
        f"{found.step} was trained before the data changed: {'; '.join(found.folder.reasons)}",
        where=out / found.step,
        fix=f"Keep it with --update, make it anew with `--redo {found.step}`, or give another "
            "--out.")


def _other_settings(refused: Sequence[StepStatus], out: Path) -> RunFolderError:
    differences = [reason for found in refused for reason in found.folder.settings]
    return RunFolderError(
        f"the run was made with other settings: {'; '.join(differences)}", where=out,
        fix="Give another --out, go back to the old settings, or make the steps anew with "
            f"`--redo {refused[0].step}`.")


def _listed(data: Path, section: Prepare) -> Inventory:
    from tag2mask.data.samples import SourceOptions
    from tag2mask.data.sources import find_source

    return find_source(data, section.source, SourceOptions(
        train_split=section.train_split, val_split=section.val_split, tags=section.tags))


def _sampled_sizes(inventory: Inventory) -> list[tuple[int, int]]:
    """(h, w) px of some photos, evenly spaced, from their headers; none of unreadable ones."""
    from tag2mask.data.images import image_size

    photos = [entry.image for entry in inventory.entries if entry.image is not None]
    sizes = []
    for photo in photos[:: max(1, math.ceil(len(photos) / SAMPLED_PHOTOS))]:
        with suppress(DataError):  # prepare tells of it
            sizes.append(image_size(inventory.root / photo))
    return sizes


def photo_counts(data: Path, section: Prepare) -> tuple[int, int]:
    """Number of training and of validation photos, listed anew.

    Raises:
        DataError: data that can't be listed.
    """
    return _counts(_listed(data, section))


def _counts(inventory: Inventory) -> tuple[int, int]:
    train = sum(entry.split == "train" for entry in inventory.entries)
    return train, len(inventory.entries) - train


def step_costs(recipe: Recipe, train: int, val: int, sizes: Sequence[tuple[int, int]] = (),
               classes: int = ASSUMED_CLASSES) -> dict[str, Cost]:
    """What each step would cost on this machine, roughly, by name; see ``estimates.estimate``."""
    gpu = recipe.runtime.device == "cuda" or (
        recipe.runtime.device == "auto" and shutil.which("nvidia-smi") is not None)
    return estimate(recipe, train=train, val=val, gpu=gpu, sizes=sizes, classes=classes)


def _action(found: StepStatus, *, update: bool) -> Action:
    folder = found.folder
    if folder.settings and found.step != ReportPage.step:
        return "refuse"
    if _only_trained_on_older_data(found):
        return "skip" if update else "refuse"
    actions: dict[str, Action] = {
        "missing": "run", "partial": "resume", "fresh": "skip", "stale": "update"}
    return actions[folder.state]


def step_index(step: str, recipe: Recipe) -> int:
    """Place of a step among those of a recipe; RunFolderError names the nearest known one."""
    left_out = {kind.step: key for kind in STEPS if (key := _leaving_out(recipe, kind))}
    if step in left_out:
        raise RunFolderError(f"the recipe leaves {step} out", where=left_out[step],
                             fix=f"Set {left_out[step]}=true.")
    names = [kind.step for kind in steps_of(recipe)]
    if step not in names:
        raise RunFolderError(f"no step {step!r}{nearest_hint(step, names)}",
                             fix=f"The steps are: {', '.join(names)}.")
    return names.index(step)
