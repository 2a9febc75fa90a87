"""What corrections mean for a run that has networks which learn from them already."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import (
    MODEL_FILE,
    AffinityLabels,
    AffinityModel,
    Evaluation,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
)
from tag2mask.artifacts.manifest import Identity, read_identity
from tag2mask.data.corrections.decisions import DECISIONS
from tag2mask.data.corrections.folder import (
    CORRECTIONS,
    Corrections,
    corrections_of,
    read_corrections,
)
from tag2mask.errors import DataChangedError, RunFolderError, counted
from tag2mask.pipeline.branch import is_begun
from tag2mask.pipeline.status import redone_folders, step_index, steps_of
from tag2mask.recipe.loading import RECIPE, load_recipe, path_override
from tag2mask.recipe.schema import Recipe

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory

FEW_MASKS = 30
"""Fewer drawn masks may make a network worse: 20 may, 50 do not (docs/results/voc-cpu)."""


def fine_tuning(source: Path) -> list[str]:
    """Return the ``--set`` values that fine-tune a run's network with drawn masks.

    A third of the run's epochs and of its learning rate; a run that was fine-tuned keeps its own.
    Three quarters of each batch are photos with drawn masks, whose pixels count twice.
    Chosen by experiments (docs/results/log, 2026-11-30).

    Args:
        source: the run.

    Raises:
        RecipeError: it has no recipe that can be read.
    """
    # Consent to the modules that a recipe names is asked for where it is loaded for the new run.
    section = load_recipe(str(source / RECIPE), allow_modules=True).train_segmenter
    part = 1 if section.masks == "mixed" and section.init_from is not None else 3
    return [
        "train_segmenter.enabled=true",
        path_override("train_segmenter.init_from", source / SegmenterModel.step / MODEL_FILE),
        "train_segmenter.masks=mixed",
        "train_segmenter.drawn_share=0.75",
        "train_segmenter.drawn_weight=2",
        f"train_segmenter.epochs={math.ceil(section.epochs / part)}",
        f"train_segmenter.optimizer.lr={section.optimizer.lr / part:.6g}",
    ]


def decisions_to_learn(run: Path) -> str | None:
    """Return how many decisions of a run's own folder its steps were made without; None: none.

    Raises:
        DataError: the corrections can't be read.
    """
    folder = run / CORRECTIONS
    if not (folder / DECISIONS).is_file():
        return None
    corrections = read_corrections(folder)
    new = corrections.differing(corrections_of(run / PreparedData.step))
    if not new:
        return None
    changes = counted(len(new), "decision isn't", "decisions aren't")
    teach = ""
    if corrections.sure and (run / SegmenterModel.step / MODEL_FILE).is_file():
        teach = f"; in a new run, --from {run} --fine-tune trains this run's network on with them"
    return (
        f"{changes} used yet; `tag2mask run` uses them with --corrections {folder} --update{teach}"
    )


def few_masks_warning(recipe: Recipe, inventory: Inventory) -> str | None:
    """Return a warning if a network is to be fine-tuned with few masks; None: there are enough.

    Args:
        recipe: the settings.
        inventory: the data as listed, with its corrections.
    """
    section, corrections = recipe.train_segmenter, inventory.corrections
    if section.masks != "mixed" or section.init_from is None or corrections is None:
        return None
    training = {entry.id for entry in inventory.entries if entry.split == "train"}
    count = len(training & set(corrections.sure))
    if not 0 < count < FEW_MASKS:
        return None
    return (
        f"the network is fine-tuned with {counted(count, 'sure mask', 'sure masks')}, drawn or "
        "accepted. So few may make it worse: on VOC's photos 50 that `ask` listed raised its mIoU "
        "by 6 points and 20 by 1, and 20 random ones lowered it by 3. `tag2mask ask` lists the "
        "next photos to draw."
    )


def step_to_redo(
    recipe: Recipe,
    out: Path,
    corrections: Path | None,
    *,
    redo: str | None = None,
    until: str | None = None,
    update: bool = False,
    source: Path | None = None,
) -> str | None:
    """Return the first step to repeat: ``redo``, or that which learned from other corrections.

    A network that learned from other corrections is trained again with ``update``, and in a new run
    that starts from another one.

    Args:
        recipe: settings of the run.
        out: the run folder.
        corrections: the folder of corrections; None: those that the run was made with.
        redo: the step that was asked for; None: none.
        until: the last step to run; None: all.
        update: whether changes of the data are accepted.
        source: another run that a new run starts from; None: none.

    Raises:
        DataChangedError: a network of ``out`` learned from other corrections.
        DataError: the corrections can't be read.
        RunFolderError: ``redo`` deletes corrections that aren't given again; a damaged run folder.
    """
    new = source is not None and not is_begun(out)
    run = source if new and source is not None else out
    redone = {kind for kind, _ in redone_folders(recipe, run, redo)}
    if corrections is None:
        if PreparedData in redone and corrections_of(run / PreparedData.step).decisions:
            raise RunFolderError(
                "the run was made with corrections, which would be lost",
                where=run,
                fix="Give them again with --corrections.",
            )
        return redo
    end = None if until is None else step_index(until, recipe) + 1
    given, prepared = read_corrections(corrections), run / PreparedData.step
    for kind in steps_of(recipe)[:end]:
        found = read_identity(run / kind.step)
        if found is None or kind in redone:
            continue
        learned = found.inputs.get(CORRECTIONS)
        now = _to_learn(kind, found, recipe, given, prepared)
        if now is None or now == (learned.fingerprint if learned else ""):
            continue
        if not (update or new):
            raise DataChangedError(
                f"{kind.step} has learned from other corrections",
                where=run,
                fix="Train it again with --update, which keeps the networks before it, or give "
                "another --out (with --from, to start from this run).",
            )
        return kind.step
    return redo


def _to_learn(
    kind: type[Handle], found: Identity, recipe: Recipe, given: Corrections, prepared: Path
) -> str | None:
    """Return the fingerprint of what a network is to learn from corrections; None: no network."""
    if kind is AffinityModel and recipe.affinity_labels.use_drawn:
        return given.drawn_fingerprint(prepared)
    if kind is SegmenterModel and found.section.get("masks") != "ground truth":
        return given.learned_fingerprint(prepared)
    return None


def reads_corrections(step: str, recipe: Recipe) -> bool:
    """Return whether a change of the corrections redoes a step that trains no network."""
    if step == AffinityLabels.step:
        return recipe.affinity_labels.use_drawn
    return step in (PseudoMaskFolder.step, Evaluation.step, ReportPage.step)
