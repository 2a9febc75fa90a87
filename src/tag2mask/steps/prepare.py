"""Step ``prepare``: list photos, tags, splits and classes, and write the index of the data.

Two halves: ``data/prepare/plan.py`` lists the data, checks it and compares it with the prepared
index; ``write_prepared`` writes the index that every later step reads (``data/index.py``). A dry
run calls the first half alone.

Only the headers of new and changed photos are read. Masks, where there are any, are checked in
full, since a run should not fail at its evaluation after hours of training. Photos and masks stay
where they are; masks that exist as outlines, or in other values or colors, are drawn into
``coco-masks/``.

A folder that was prepared from other photos or tags is an error that says in numbers what changed,
unless ``update`` accepts the changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tag2mask.artifacts.deletion import remove_step_folder
from tag2mask.artifacts.handles import PreparedData
from tag2mask.artifacts.items import named_path
from tag2mask.artifacts.manifest import Manifest
from tag2mask.artifacts.placement import check_run_outside_data
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.data.corrections.folder import CORRECTIONS, copy_corrections
from tag2mask.data.index import (
    MaskRow,
    all_samples,
    photos_fingerprint,
    write_index,
    write_mask_rows,
    write_source,
)
from tag2mask.data.inventory import Inventory
from tag2mask.data.masks import write_mask
from tag2mask.data.prepare.listing import list_data
from tag2mask.data.prepare.measure import DRAWN_FOLDER
from tag2mask.data.prepare.plan import PreparePlan, plan_prepare
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError, ProblemsError
from tag2mask.files.json_file import write_json
from tag2mask.recipe.sections import Prepare
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import ordered_map


def prepare(
    data: Path,
    section: Prepare,
    out: Path,
    *,
    update: bool = False,
    listed: Inventory | None = None,
    corrections: Path | None = None,
) -> PreparedData:
    """List photos and tags, check them, and write the index.

    Args:
        data: the data folder.
        section: layout, splits, source of tags.
        out: the step's folder.
        update: accept what has changed in the data since ``out`` was made.
        listed: what the data folder holds, from ``list_data``; None: it is listed.
        corrections: folder of corrections, of which a copy is kept; None: those that ``out`` was
            made with. Not used with ``listed``, which has them.

    Returns:
        The prepared folder; its manifest counts photos, classes and masks, lists the skipped
        photos, and holds what was understood (``metrics["understood"]``) and the warnings
        (``metrics["warnings"]``).

    Raises:
        DataError: no data, or no tagged photo to train on.
        ProblemsError: photos, tags or masks with errors, all at once. With ``skip_bad``, photos
            that are missing or unreadable are skipped instead.
        RunFolderError: ``out`` is inside the data, was made with other settings or (without
            ``update``) from other photos or tags, or can't be written.
    """
    check_run_outside_data(data, out)
    inventory = listed or list_data(data, section, out, corrections)
    plan = plan_prepare(data, inventory, section, out, update=update)
    return write_prepared(plan, section, out)


def write_prepared(plan: PreparePlan, section: Prepare, out: Path) -> PreparedData:
    """Write what ``plan_prepare`` planned.

    Raises:
        ProblemsError: annotations that were changed meanwhile.
        RunFolderError: ``out`` was made with other settings, or can't be written.
    """
    if plan.classes_changed:
        remove_step_folder(PreparedData, out)
    classes, root = plan.classes, plan.inventory.root
    with step_folder(
        PreparedData,
        out,
        section=section,
        inputs={"classes": _classes_digest(plan)},
        coverage={"photos": photos_fingerprint(plan.samples)},
        has_all=partial(_is_written, plan),
    ) as step:
        if step.complete:
            return step.handle
        write_source(out, plan.inventory.layout, root)
        write_json(out / "classes.json", {"names": classes.names, "colors": classes.colors})
        for split in SPLITS:
            write_index(out, split, plan.samples[split], root)
        _write_masks(plan, step)
        _write_corrections(plan, step)
        return step.finish(counts=plan.counts, metrics=plan.metrics, skipped=plan.skipped)


def _is_written(plan: PreparePlan, manifest: Manifest) -> bool:
    """Return whether a complete folder holds the plan; it may differ in masks, groups, warnings."""
    before = plan.before
    return (
        before is not None
        and before.root == plan.inventory.root
        and not plan.masks_changed
        and not plan.groups_changed
        and not plan.corrections_changed
        and manifest.counts == plan.counts
        and manifest.metrics == plan.metrics
        and manifest.skipped == plan.skipped
    )


def _write_corrections(plan: PreparePlan, step: Step[PreparedData]) -> None:
    """Write a copy, so that reviewing may go on while the later steps read it."""
    folder = step.path / CORRECTIONS
    if plan.corrections.decisions or folder.is_dir():
        copy_corrections(plan.corrections, folder, plan.classes)


def _write_masks(plan: PreparePlan, step: Step[PreparedData]) -> None:
    """Write the paths of the masks; draw those that exist as outlines, each once.

    Raises:
        ProblemsError: annotations that were changed meanwhile.
    """
    drawn = {row.id: row for row in plan.masks if row.drawn}
    flat = step.path / DRAWN_FOLDER
    before = () if plan.before is None else plan.before.masks
    earlier = {row.id: step.path / row.mask for row in before if row.drawn}
    step.journal.drop_missing(
        drawn, lambda gone: [earlier.get(gone) or named_path(flat, gone, ".png")]
    )
    keys = _drawing_keys(plan)
    due = [
        row
        for row in drawn.values()
        if step.journal.key(row.id) != keys[row.id] or not (step.path / row.mask).is_file()
    ]
    for row in due:  # where they have become very many, masks move to sub-folders
        if row.id in earlier:
            earlier[row.id].unlink(missing_ok=True)
    if due:
        _draw_masks(plan, due, keys, step)
    write_mask_rows(step.path, plan.masks)


def _drawing_keys(plan: PreparePlan) -> dict[str, str]:
    """Return all that decides each drawn mask: its sources, the photo's size, and the classes."""
    sizes, classes = _sizes(plan), _classes_digest(plan)[:16]
    return {
        row.id: "{} {}x{} {}".format(row.stamp, *sizes[row.id], classes)
        for row in plan.masks
        if row.drawn
    }


def _sizes(plan: PreparePlan) -> dict[str, tuple[int, int]]:
    """Return (h, w) of each photo by id."""
    return {sample.id: sample.size for sample in all_samples(plan.samples)}


def _classes_digest(plan: PreparePlan) -> str:
    return hashlib.sha256("\n".join(plan.classes.names).encode()).hexdigest()


def _draw_masks(
    plan: PreparePlan, rows: Sequence[MaskRow], keys: Mapping[str, str], step: Step[PreparedData]
) -> None:
    """Draw masks and record each with its key.

    Raises:
        ProblemsError: annotations that were changed meanwhile, or that don't fit their photos.
    """
    drawer, colors = plan.inventory.mask_drawer, plan.classes.colors
    assert drawer is not None
    sizes = _sizes(plan)

    def draw(row: MaskRow) -> str | None:
        height, width = sizes[row.id]
        try:
            mask = drawer.draw(row.id, (height, width))
        except DataError as error:
            return str(error)
        if mask.shape != (height, width):
            return (
                f"mask of photo {row.id!r} has a different size: mask "
                f"{mask.shape[1]}x{mask.shape[0]}, photo {width}x{height} px; replace one of the "
                "two"
            )
        path = step.path / row.mask
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask, colors)
        return None

    problems: list[str] = []
    with ProgressBar(len(rows), "drawing masks") as bar:
        for row, problem in zip(rows, ordered_map(draw, rows), strict=True):
            bar.advance()
            if problem is None:
                step.journal.record(row.id, keys[row.id])
            else:
                problems.append(problem)
    if problems:
        raise ProblemsError(
            f"{len(problems)} masks can't be drawn",
            problems,
            where=plan.inventory.root,
            fix="Fix the annotations:",
        )
