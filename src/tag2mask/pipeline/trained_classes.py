"""Trained networks that a run keeps or starts from: whether they know the classes of the data."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.deletion import recorded_seconds
from tag2mask.artifacts.handles import CamModel, Handle, PreparedData, SegmenterModel, section_name
from tag2mask.artifacts.placement import check_start_outside
from tag2mask.artifacts.step_table import STEPS
from tag2mask.errors import DataChangedError
from tag2mask.pipeline.corrections import few_masks_warning
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.durations import format_minutes

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory


def check_kept_classes(
    inventory: Inventory, run: Path, first_model: type[Handle] = CamModel
) -> None:
    """Check that the data has the classes that the networks of a run were trained on.

    Args:
        inventory: the data as listed.
        run: the run folder.
        first_model: the first network that the run trains.

    Raises:
        DataChangedError: naming the classes, and what training again costs.
    """
    from tag2mask.data.index import data_root
    from tag2mask.data.prepare.index_changes import class_changes, read_prepared_index

    before = read_prepared_index(run / PreparedData.step)
    if before is None or not (changes := class_changes(before.class_names, inventory.class_names)):
        return
    first = STEPS.index(first_model)
    taken = recorded_seconds([(kind, run / kind.step) for kind in STEPS[first:]])
    root = data_root(run / PreparedData.step)
    other = "" if root == inventory.root else f"; the run was made of {root}, not {inventory.root}"
    raise DataChangedError(
        f"the trained networks don't know the data's classes: {changes[0]}{other}",
        where=run,
        fix=f"Train again with `--redo {first_model.step}` and --update (the steps took "
        f"{format_minutes(sum(taken.values()))}), or keep this run and train on in another --out "
        "with --from, --update and the init_from of both networks.",
    )


def check_start_files(recipe: Recipe, out: Path) -> None:
    """Check that no training starts from a network in the folder that it writes.

    Raises:
        RecipeError: one does.
    """
    for kind, file in _start_files(recipe).items():
        check_start_outside(f"{section_name(kind.step)}.init_from", file, out / kind.step)


def start_warnings(
    recipe: Recipe, inventory: Inventory, due: Collection[type[Handle]]
) -> tuple[str, ...]:
    """Return which classes start fresh, and which are dropped, where training starts from networks.

    Also, which given masks are of no photo, and whether few drawn masks are to teach a network.

    Args:
        recipe: the settings.
        inventory: the data as listed.
        due: the steps that have yet to train.

    Raises:
        WeightsError: such a network is damaged.
    """
    files = {kind: file for kind, file in _start_files(recipe).items() if kind in due}
    warnings: list[str] = []
    if recipe.masks is not None and SegmenterModel in due:
        from tag2mask.steps.mask_exchange.given import unused_masks_warnings

        warnings += unused_masks_warnings(Path(recipe.masks), inventory)
    if SegmenterModel in due and (few := few_masks_warning(recipe, inventory)):
        warnings.append(few)
    if not files:
        return tuple(warnings)
    from tag2mask.nn.class_matching import match_classes
    from tag2mask.nn.model_file import read_spec
    from tag2mask.seam.model import SEAM_KIND
    from tag2mask.segmentation.networks import SEGMENTER_KIND

    for kind, file in files.items():
        path, is_cam = Path(file), kind is CamModel
        trained = read_spec(path, SEAM_KIND) if is_cam else read_spec(path, SEGMENTER_KIND)
        match = match_classes(inventory.class_names, trained.classes)
        warnings += match.warnings(f"{section_name(kind.step)}.init_from")
    return tuple(warnings)


def _start_files(recipe: Recipe) -> dict[type[Handle], str]:
    """Return the file that each network's training starts from, where there is one."""
    files: dict[type[Handle], str | None] = {CamModel: recipe.train_cam.init_from}
    if recipe.train_segmenter.enabled:
        files[SegmenterModel] = recipe.train_segmenter.init_from
    return {kind: file for kind, file in files.items() if file is not None}
