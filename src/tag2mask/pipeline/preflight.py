"""Checks before a run begins, of what would otherwise fail after hours of training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import (
    AffinityModel,
    CamModel,
    Handle,
    PreparedData,
    ReportPage,
    SegmenterModel,
)
from tag2mask.artifacts.step_table import MODELS, RUN_STEPS, STEPS
from tag2mask.errors import DataError, RunFolderError, Tag2MaskError
from tag2mask.pipeline.status import (
    StepStatus,
    folder_states,
    is_run_recipe,
    redone_folders,
    settings_error,
)
from tag2mask.pipeline.trained_classes import check_kept_classes
from tag2mask.recipe.loading import RECIPE
from tag2mask.recipe.schema import Recipe

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory

_Checks = list[tuple[type[Handle], Callable[[], object]]]
"""Steps, each with a function that raises what the step would refuse."""


def start_refusal(
    recipe: Recipe,
    out: Path,
    inventory: Inventory,
    steps: Sequence[type[Handle]],
    *,
    redone: Collection[type[Handle]] = (),
    update: bool = False,
    compare: Sequence[Path] = (),
    download: bool = True,
) -> tuple[str, Tag2MaskError] | None:
    """Return the step that keeps a run from starting, and its error; None: the run can start.

    Writes nothing.

    Args:
        recipe: the settings.
        out: the run folder.
        inventory: the data as listed.
        steps: the steps to run.
        redone: the steps that are deleted first.
        update: whether trained networks are kept although the data changed.
        compare: other runs for the report.
        download: whether networks download their weights; if not, they are built without.

    Raises:
        RunFolderError: a damaged run folder.
    """
    from tag2mask.steps.start_checks import START_CHECKS, Start

    states = folder_states(out, recipe)
    by_step = {found.step: found.folder.state for found in states}
    missing = {kind for kind in steps if kind in redone or by_step[kind.step] == "missing"}
    due = missing | {
        kind
        for kind in steps
        if by_step[kind.step] == "partial"
        # A finished network is kept or refused, never trained again.
        or (kind not in MODELS and (update or by_step[kind.step] == "stale"))
    }
    data_check = partial(_check_data, inventory, recipe)
    checks: _Checks = [(steps[0], partial(_check_folder, out, steps, states, redone))]
    if PreparedData in redone:  # it must be possible to prepare again what is deleted
        checks.append((PreparedData, data_check))
    start = Start(recipe, inventory)
    checks += [(kind, partial(check, start)) for kind, check in START_CHECKS.items() if kind in due]
    if ReportPage in steps and compare:
        from tag2mask.report.run_folder import open_runs

        checks.append((ReportPage, partial(open_runs, compare)))
    first_model = next((kind for kind in steps if kind in MODELS), None)
    if first_model is not None and first_model not in missing:
        checks.append((first_model, partial(check_kept_classes, inventory, out, first_model)))

    def try_missing(kind: type[Handle]) -> None:
        from tag2mask.steps.trainers.trial_networks import try_network

        try_network(kind, recipe, out, cam_due=CamModel in missing, download=download)

    checks += [(kind, partial(try_missing, kind)) for kind in MODELS if kind in missing]
    for kind, check in checks:
        try:
            check()
        except Tag2MaskError as error:
            # Problems of the data may be why a step finds no photo or no mask.
            problems = _raised(data_check) if kind in START_CHECKS else None
            return (kind.step, error) if problems is None else (PreparedData.step, problems)
    return None


def check_start(
    recipe: Recipe,
    out: Path,
    inventory: Inventory,
    steps: Sequence[type[Handle]],
    redone: Collection[type[Handle]],
    update: bool,
    compare: Sequence[Path],
) -> None:
    """Check that a run can start; the arguments are those of `start_refusal`.

    Raises:
        Tag2MaskError: what a step would refuse.
    """
    refused = start_refusal(
        recipe, out, inventory, steps, redone=redone, update=update, compare=compare
    )
    if refused is not None:
        raise refused[1]


def check_no_other_recipe(out: Path) -> None:
    """Check that a folder holds no recipe of the user's own, whose comments a run would delete.

    Raises:
        RunFolderError: it does.
    """
    path = out / RECIPE
    if path.is_file() and not is_run_recipe(path):
        raise RunFolderError(
            f"the folder holds a {RECIPE} that no run wrote",
            where=out,
            fix="The run's recipe would replace it: move it out of the folder and give it with "
            "--recipe, or give another --out.",
        )


def check_late_networks(recipe: Recipe, out: Path, due: Collection[type[Handle]]) -> None:
    """Build AffinityNet and the segmentation network once; see `try_network`.

    Args:
        recipe: of the run.
        out: folder where earlier steps may yet write files of weights.
        due: steps that have not begun.

    Raises:
        RecipeError: a network can't be built, or doesn't accept its crop size.
        WeightsError: its weights are missing, damaged or of another network.
    """
    from tag2mask.steps.trainers.trial_networks import try_network

    for kind in (AffinityModel, SegmenterModel):
        if kind in due:
            try_network(kind, recipe, out, cam_due=CamModel in due)


def check_own_masks(recipe: Recipe, out: Path, redo: str | None) -> None:
    """Check that a run that is given masks has none of its own, nor steps that lead to them.

    Raises:
        RunFolderError: it has; or the given masks are in one of its steps' folders.
    """
    if recipe.masks is None:
        return
    given = Path(recipe.masks).resolve()
    if any(given.is_relative_to((out / kind.step).resolve()) for kind in STEPS):
        raise RunFolderError(
            "the run is given masks that are its own", where=given, fix="Give another --out."
        )
    redone = {kind for kind, _ in redone_folders(recipe, out, redo)}
    made = [row.name for row in RUN_STEPS if row.makes_masks and row.handle not in redone]
    if own := [name for name in made if (out / name).exists()]:
        raise RunFolderError(
            f"the run is given masks, but has made some itself: {', '.join(own)}",
            where=out,
            fix=f"Give another --out, or delete what it made with `--redo {PreparedData.step}`.",
        )


def _check_folder(
    out: Path,
    steps: Sequence[type[Handle]],
    states: Sequence[StepStatus],
    redone: Collection[type[Handle]],
) -> None:
    """Check that a run folder's steps have the settings of the recipe.

    Raises:
        RunFolderError: they have others, or the folder holds the recipe of a user.
    """
    # The report is cheap and takes other settings.
    checked = {kind.step for kind in steps if kind is not ReportPage and kind not in redone}
    different = [found for found in states if found.step in checked and found.folder.settings]
    if different:
        raise settings_error(different, out)
    check_no_other_recipe(out)


def _check_data(inventory: Inventory, recipe: Recipe) -> None:
    """Check the list of photos, tags and classes as ``prepare`` does.

    Raises:
        DataError: as ``prepare``.
    """
    from tag2mask.data.checks.inventory import inventory_problems
    from tag2mask.data.prepare.plan import check_problems

    check_problems(inventory_problems(inventory), inventory.root, recipe.prepare)


def _raised(check: Callable[[], object]) -> DataError | None:
    try:
        check()
    except DataError as error:
        return error
    return None
