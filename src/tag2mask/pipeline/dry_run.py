"""A dry run: what running a recipe would do and cost; nothing is written or trained.

The data is listed and compared with what was prepared by ``prepare``'s own plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tag2mask.artifacts.handles import Evaluation, Handle, PreparedData, ReportPage
from tag2mask.artifacts.placement import check_run_outside_data
from tag2mask.errors import (
    DataChangedError,
    DataError,
    RunFolderError,
    Tag2MaskError,
)
from tag2mask.pipeline.branch import held_steps, is_begun
from tag2mask.pipeline.corrections import reads_corrections, step_to_redo
from tag2mask.pipeline.cost_model import Cost
from tag2mask.pipeline.estimates import counts, sampled_sizes, step_costs
from tag2mask.pipeline.object_sizes import seen_objects
from tag2mask.pipeline.preflight import check_no_other_recipe, check_own_masks, start_refusal
from tag2mask.pipeline.status import (
    StepStatus,
    check_redo,
    folder_states,
    is_model,
    redone_folders,
    step_index,
    steps_of,
)
from tag2mask.pipeline.trained_classes import check_start_files, start_warnings
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.sections import Prepare

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory


Action = Literal["run", "resume", "skip", "update", "refuse", "not reached"]


@dataclass(frozen=True)
class PlannedStep:
    """What a run would do with one step.

    Attributes:
        step: its name.
        action: run, resume, skip (already fresh), update (redo what changed), refuse, or not
            reached (it comes after a refused one).
        why: differences and states behind the action.
        cost: of the complete step, run from the start; None where nothing is computed.
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
        understood: what was understood of the data, in five lines.
        objects: how far photos are shrunk, and the smallest object that is seen; empty: no photo
            was readable.
        warnings: classes that start fresh or are dropped, where training starts from networks.
        refusal: the error that the run would raise before it computes anything; None: none.
    """

    train: int
    val: int
    steps: tuple[PlannedStep, ...]
    understood: tuple[str, ...]
    objects: str
    warnings: tuple[str, ...] = ()
    refusal: Tag2MaskError | None = None


def dry_run(
    data: Path,
    recipe: Recipe,
    out: Path,
    *,
    until: str | None = None,
    update: bool = False,
    redo: str | None = None,
    compare: Sequence[Path] = (),
    source: Path | None = None,
    corrections: Path | None = None,
) -> Plan:
    """Plan a run: which steps it would run, and estimates of their cost. Writes nothing.

    The arguments are those of ``run``. The data is listed and compared with what was prepared; the
    sizes of some photos are read.

    Raises:
        DataError: data that can't be listed, or a ``redo`` after ``until``.
        RunFolderError: no such step, or a damaged run folder.
    """
    check_redo(recipe, until, redo)
    redo = step_to_redo(
        recipe, out, corrections, redo=redo, until=until, update=update, source=source
    )
    check_run_outside_data(data, out)
    check_start_files(recipe, out)
    check_own_masks(recipe, out, redo)
    if source is None or is_begun(out):
        redone = [kind for kind, _ in redone_folders(recipe, out, redo)]
        return _plan(data, recipe, out, until, update, redone, compare, corrections)
    check_no_other_recipe(out)
    held = held_steps(source, recipe, redo)
    new = [kind for kind in steps_of(recipe) if kind not in held]
    plan = _plan(data, recipe, source, until, update, new, compare, corrections)
    return replace(plan, steps=tuple(_from_source(found, source) for found in plan.steps))


def _plan(
    data: Path,
    recipe: Recipe,
    out: Path,
    until: str | None,
    update: bool,
    redone: Sequence[type[Handle]],
    compare: Sequence[Path],
    corrections: Path | None,
) -> Plan:
    """Plan a run in its own folder, as if the steps ``redone`` were not there; see `dry_run`."""
    from tag2mask.data.checks.understood import understood
    from tag2mask.data.inventory import SourceOptions
    from tag2mask.data.prepare.listing import list_data

    steps = steps_of(recipe)
    end = len(steps) - 1 if until is None else step_index(until, recipe)
    again = {kind.step for kind in redone}
    prepared = None if PreparedData in redone else out / PreparedData.step
    inventory = list_data(data, recipe.prepare, prepared, corrections)
    listing = _compared(inventory, data, recipe.prepare, prepared, update=update)
    train, val = counts(inventory)
    sizes = sampled_sizes(inventory)
    costs = step_costs(recipe, inventory, sizes)
    planned: list[PlannedStep] = []
    different: list[StepStatus] = []
    refusal: Tag2MaskError | None = None
    for found in folder_states(out, recipe):
        state = _after(listing, found, recipe)
        action = "run" if state.step in again else _action(state, update=update)
        refused: Tag2MaskError | None = listing.refusal if state.step == PreparedData.step else None
        if action == "refuse" and state.folder.settings:
            different.append(state)
        elif action == "refuse":
            refused = refused or _changed_data_error(state, out)
        if refusal is not None or (different and different[0] is not state):
            action = "not reached"
        elif refused is not None:
            action, refusal = "refuse", refused
        why = state.folder.settings if action == "not reached" else state.folder.reasons
        cost = costs[state.step] if action in ("run", "resume", "update") else None
        planned.append(PlannedStep(state.step, action, why, cost))
        if state.step == steps[end].step:
            break
    refused_start = start_refusal(
        recipe,
        out,
        inventory,
        steps[: end + 1],
        redone=redone,
        update=update,
        compare=compare,
        download=False,
    )
    if refused_start is not None:
        step, refusal = refused_start
        if not different:
            planned = [_not_started(found, step) for found in planned]
    lines = understood(inventory, SourceOptions.of(recipe.prepare))
    warnings: tuple[str, ...] = ()
    if refusal is None:
        training = {found.step for found in planned if found.action in ("run", "resume")}
        warnings = start_warnings(recipe, inventory, [k for k in steps if k.step in training])
    return Plan(train, val, tuple(planned), lines, seen_objects(recipe, sizes), warnings, refusal)


@dataclass(frozen=True)
class _Listing:
    """How the data differs from what was prepared.

    Attributes:
        refusal: the error that ``prepare`` would raise.
        changes: changes in photos, tags and classes that it would accept.
        masks: whether masks changed, which only the evaluation and the report read.
        corrections: whether decisions changed, which more steps read.
    """

    refusal: DataError | DataChangedError | None = None
    changes: tuple[str, ...] = ()
    masks: bool = False
    corrections: bool = False


def _compared(
    inventory: Inventory, data: Path, section: Prepare, prepared: Path | None, *, update: bool
) -> _Listing:
    """Plan ``prepare``; without a complete folder, only check the list of photos and tags."""
    from tag2mask.data.checks.inventory import inventory_problems
    from tag2mask.data.prepare.plan import check_problems, is_prepared, plan_prepare

    try:
        if prepared is None or not is_prepared(section, prepared):
            # Whether the photos are readable is found by opening all, which is the step's work.
            check_problems(inventory_problems(inventory), data, section)
            return _Listing()
        plan = plan_prepare(data, inventory, section, prepared, update=update)
    except (DataError, DataChangedError) as error:
        return _Listing(error)
    return _Listing(
        changes=plan.changes, masks=plan.masks_changed, corrections=plan.corrections_changed
    )


def _after(listing: _Listing, found: StepStatus, recipe: Recipe) -> StepStatus:
    """Return the state of a step once ``prepare`` has accepted the changes."""
    is_prepare = found.step == PreparedData.step
    if is_prepare and listing.refusal is not None:
        reasons: tuple[str, ...] = (listing.refusal.what, *found.folder.reasons)
    elif found.folder.state != "fresh" or not (
        listing.changes or listing.masks or listing.corrections
    ):
        return found
    elif is_prepare:
        changed = "the corrections changed" if listing.corrections else "the masks changed"
        reasons = listing.changes or (changed,)
    elif listing.changes and not is_model(found):
        reasons = (f"{PreparedData.step} takes in changes",)
    elif listing.corrections and reads_corrections(found.step, recipe):
        reasons = ("the corrections changed",)
    elif listing.masks and found.step in (Evaluation.step, ReportPage.step):
        reasons = ("the masks changed",)
    else:
        return found
    return replace(found, folder=replace(found.folder, state="stale", reasons=reasons))


def _from_source(planned: PlannedStep, source: Path) -> PlannedStep:
    taken = planned.action in ("skip", "update")
    return replace(planned, why=(f"from {source}", *planned.why)) if taken else planned


def _not_started(planned: PlannedStep, refusing: str) -> PlannedStep:
    """Return the plan of a step whose run can't start because of the step ``refusing``."""
    action: Action = "refuse" if planned.step == refusing else "not reached"
    return replace(planned, action=action, cost=None)


def _changed_data_error(found: StepStatus, out: Path) -> RunFolderError:
    return RunFolderError(
        f"{found.step} was trained before the data changed: {'; '.join(found.folder.reasons)}",
        where=out / found.step,
        fix=f"Keep it with --update, train it again with `--redo {found.step}`, or give another "
        "--out.",
    )


def _action(found: StepStatus, *, update: bool) -> Action:
    folder = found.folder
    if folder.settings and found.step != ReportPage.step:
        return "refuse"
    if folder.state == "stale" and is_model(found):  # never trained again
        changed = any(": changed since" in reason for reason in folder.reasons)
        return "refuse" if changed and not update else "skip"
    actions: dict[str, Action] = {
        "missing": "run",
        "partial": "resume",
        "fresh": "skip",
        "stale": "update",
    }
    return actions[folder.state]
