"""The trials of an ablation (each row with each seed): step folders, order and cost.

A step's folder is named after everything that decides its content, so that trials with equal steps
share their folders. `tag2mask.ablation.run` runs the steps.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tag2mask.ablation.table import AblationRow, AblationTable, Measure, row_options, row_recipe
from tag2mask.artifacts.handles import CamModel, Handle, ReportPage
from tag2mask.artifacts.identity import folder_status, identity_of
from tag2mask.artifacts.placement import check_run_outside_data
from tag2mask.errors import RecipeError
from tag2mask.pipeline.estimates import sampled_sizes, step_costs
from tag2mask.pipeline.status import section_of, steps_of
from tag2mask.recipe.fields import Section
from tag2mask.recipe.schema import Recipe


@dataclass(frozen=True)
class Trial:
    """One row with one seed.

    Attributes:
        recipe_name: name or file of the recipe that the row changes.
        options: the row's settings, without the seed.
        recipe: the resulting recipe.
        folders: folders of its steps, in order.
        start: folder of the plain CAM that its training starts from, if any.
        command: the command of an ordinary run with the same result.
    """

    row: AblationRow
    seed: int
    recipe_name: str
    options: tuple[str, ...]
    recipe: Recipe
    folders: Mapping[type[Handle], Path]
    start: Path | None
    command: str

    @property
    def learns_from(self) -> Literal["tags", "masks"]:
        """``masks`` if the segmenter is trained on ground truth, else ``tags``."""
        segmenter = self.recipe.train_segmenter
        return "masks" if segmenter.enabled and segmenter.masks == "ground truth" else "tags"

    @property
    def measure(self) -> Measure:
        """The row's own measure."""
        own: Measure = "segmenter" if self.recipe.train_segmenter.enabled else "masks"
        return self.row.measure or own


def list_trials(
    data: Path,
    table: AblationTable,
    out: Path,
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    *,
    allow_modules: bool = False,
) -> list[Trial]:
    """Return a trial for each row and seed, in the table's order (arguments as in `ablate`).

    Raises:
        RecipeError: a row has no valid recipe, or another ``runtime`` than the first row.
    """
    trials: list[Trial] = []
    for number, row in enumerate(table.rows, 1):
        options = row_options(table, row, overrides)
        for seed in seeds:
            seeded = [*options, *seed_options(seed)]
            recipe = row_recipe(table, row, seeded, allow_modules=allow_modules)
            if trials and recipe.runtime != trials[0].recipe.runtime:
                raise RecipeError(
                    f"row {row.name!r} has another runtime than the first row",
                    where="runtime",
                    fix="Set it for all rows, by --set.",
                )
            name = row.recipe or table.recipe
            run = out / "runs" / f"{number:02}-{slug(row.name)}-seed{seed}"
            command = [
                "tag2mask",
                "run",
                "--data",
                str(data),
                "--recipe",
                name,
                *(word for option in seeded for word in ("--set", option)),
                "--out",
                str(run),
            ]
            steps = out / "steps"
            trials.append(
                Trial(
                    row,
                    seed,
                    name,
                    tuple(options),
                    recipe,
                    step_folders(recipe, steps),
                    start_folder(recipe, steps),
                    shlex.join(command),
                )
            )
    return trials


def seed_options(seed: int) -> list[str]:
    """Return the options that set the seed in every section with one."""
    return [
        f"{key}.seed={seed}"
        for key, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, Section)
        and "seed" in field.annotation.model_fields
    ]


def slug(name: str) -> str:
    """Return a row's name as a folder name."""
    plain = "".join(c if c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in plain.split("-") if part) or "row"


def step_folders(recipe: Recipe, steps: Path) -> dict[type[Handle], Path]:
    """Return the folder of every step; equal settings of it and all earlier steps, equal folders.

    A step reads earlier steps only, so its identity and theirs decide its content. Settings that
    don't affect the content are ignored, as when a folder is resumed.
    """
    folders: dict[type[Handle], Path] = {}
    earlier = ""
    for kind in steps_of(recipe):
        if kind is ReportPage:
            continue
        section = section_of(recipe, kind)
        earlier = identity_of(kind, steps, section, {"earlier": earlier}, {}).identity
        folders[kind] = steps / f"{kind.step}-{earlier[:12]}"
    return folders


def start_folder(recipe: Recipe, steps: Path) -> Path | None:
    """Return the train-cam folder of the plain CAM that train-cam starts from, if any."""
    if not recipe.train_cam.warm_epochs:
        return None
    return step_folders(_start_recipe(recipe), steps)[CamModel]


def _start_recipe(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"train_cam": recipe.train_cam.plain_start()})


def execution_order(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials in order: by seed, the first row first, then the rows that share most.

    So the table of the first seed is complete before the next seed starts, and steps of many rows
    run before those of a single row.
    """
    folders = [folder for trial in trials for folder in trial.folders.values()]
    places = {folder: place for place, folder in reversed(list(enumerate(folders)))}
    sharing = Counter(folders)
    seeds = [trial.seed for trial in trials]

    def key(trial: Trial) -> tuple[int, bool, list[tuple[int, int]]]:
        chain = [(-sharing[folder], places[folder]) for folder in trial.folders.values()]
        return seeds.index(trial.seed), trial.row != trials[0].row, chain

    return sorted(trials, key=key)


@dataclass(frozen=True)
class PlannedTrial:
    """The steps that an ablation would run for one trial.

    Attributes:
        steps: steps to run or resume, without finished ones and those of earlier trials.
        seconds, disk_mib: estimated cost of these steps.
    """

    trial: Trial
    steps: tuple[str, ...]
    seconds: float
    disk_mib: float


def plan_ablation(
    data: Path,
    table: AblationTable,
    out: Path,
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    *,
    allow_modules: bool = False,
) -> list[PlannedTrial]:
    """Return the steps that an ablation would run (arguments as in `tag2mask.ablation.run.ablate`).

    Raises:
        RecipeError: a row has no valid recipe.
        DataError: the data can't be listed.
        RunFolderError: ``out`` is inside the data, or has a damaged folder.
    """
    from tag2mask.data.prepare.listing import list_data

    check_run_outside_data(data, out)
    listed = list_trials(data, table, out, seeds, overrides, allow_modules=allow_modules)
    trials = execution_order(listed)
    inventory = list_data(data, trials[0].recipe.prepare, None)
    sizes = sampled_sizes(inventory)
    taken: set[Path] = set()
    planned = []
    for trial in trials:
        costs = step_costs(trial.recipe, inventory, sizes)
        due = [
            kind.step
            for kind, folder in trial.folders.items()
            if folder not in taken and folder_status(kind, folder).state != "fresh"
        ]
        taken.update(trial.folders.values())
        seconds = sum(costs[step].seconds for step in due)
        disk_mib = sum(costs[step].disk_mib for step in due)
        if trial.start is not None and CamModel.step in due:
            if trial.start in taken or folder_status(CamModel, trial.start).state == "fresh":
                spared = step_costs(_start_recipe(trial.recipe), inventory, sizes)[CamModel.step]
                seconds -= spared.seconds
                disk_mib -= spared.disk_mib
            taken.add(trial.start)
        planned.append(PlannedTrial(trial, tuple(due), seconds, disk_mib))
    return planned
