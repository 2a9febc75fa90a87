"""The trials of an ablation: each row with each seed, where its steps lie, and in which order.

A step's folder is named by everything that it is made from, so that equal work of different trials
lies in one folder. Nothing here runs a step; ``ablation`` does.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tag2mask.ablation.table import Measure, Row, Table, row_options, row_recipe
from tag2mask.artifacts.files import check_run_outside_data
from tag2mask.artifacts.handles import CamModel, Handle, ReportPage
from tag2mask.artifacts.identity import folder_status, identity_of
from tag2mask.errors import RecipeError
from tag2mask.pipeline.estimates import sampled_sizes, step_costs
from tag2mask.pipeline.status import section_of, steps_of
from tag2mask.recipe.fields import Section
from tag2mask.recipe.schema import Recipe


@dataclass(frozen=True)
class Trial:
    """A row with a seed.

    Attributes:
        recipe_name: of the recipe that the row changes.
        options: what the row sets, besides the seed.
        recipe: what it runs.
        folders: of its steps, in order.
        start: folder of the plain CAM that its training starts from, if it does.
        command: makes the same as a run of its own.
    """

    row: Row
    seed: int
    recipe_name: str
    options: tuple[str, ...]
    recipe: Recipe
    folders: Mapping[type[Handle], Path]
    start: Path | None
    command: str

    @property
    def learns_from(self) -> Literal["tags", "masks"]:
        """``masks``: its segmenter does, fully supervised."""
        segmenter = self.recipe.train_segmenter
        return "masks" if segmenter.enabled and segmenter.masks == "ground truth" else "tags"

    @property
    def measure(self) -> Measure:
        """What the row's own number is taken from."""
        own: Measure = "segmenter" if self.recipe.train_segmenter.enabled else "masks"
        return self.row.measure or own


def trials_of(
    data: Path, table: Table, out: Path, seeds: Sequence[int], overrides: Sequence[str] = ()
) -> list[Trial]:
    """Every row with every seed, in the table's order (the arguments are those of `ablate`).

    Raises:
        RecipeError: a row that makes no recipe, or sets where it runs.
    """
    trials: list[Trial] = []
    for number, row in enumerate(table.rows, 1):
        options = row_options(table, row, overrides)
        for seed in seeds:
            seeded = [*options, *seed_options(seed)]
            recipe = row_recipe(table, row, seeded)
            if trials and recipe.runtime != trials[0].recipe.runtime:
                raise RecipeError(
                    f"row {row.name!r} runs elsewhere than the first row",
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
    """The seed of every section that has one."""
    return [
        f"{key}.seed={seed}"
        for key, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, Section)
        and "seed" in field.annotation.model_fields
    ]


def slug(name: str) -> str:
    """A row's name as that of a folder."""
    plain = "".join(c if c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in plain.split("-") if part) or "row"


def step_folders(recipe: Recipe, steps: Path) -> dict[type[Handle], Path]:
    """The folder of every step: equal where all settings are that it is made with.

    A step reads nothing but earlier ones, so its own identity and theirs decide; settings that
    don't change what is made count no more here than when a folder is resumed.
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
    """The folder of the plain CAM that train-cam starts from: that of its training alone."""
    if not recipe.train_cam.warm_start:
        return None
    return step_folders(_of_its_start(recipe), steps)[CamModel]


def _of_its_start(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"train_cam": recipe.train_cam.plain_start()})


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """The order of work: by seed; the first row; then rows with the most work in common.

    So the first seed's table is whole before the next seed begins, and what many rows are waiting
    for is made before what one row alone needs.
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
    """What an ablation would do for one trial, in its turn.

    Attributes:
        steps: that it would make or resume, without those made before or by an earlier trial.
        seconds, disk_mib: of these steps, roughly.
    """

    trial: Trial
    steps: tuple[str, ...]
    seconds: float
    disk_mib: float


def plan(
    data: Path, table: Table, out: Path, seeds: Sequence[int], overrides: Sequence[str] = ()
) -> list[PlannedTrial]:
    """Say what an ablation would do (the arguments are those of `ablation.ablate`).

    Raises:
        RecipeError: a row that makes no recipe.
        DataError: data that can't be listed.
        RunFolderError: ``out`` lies inside the data, or holds a damaged folder.
    """
    from tag2mask.steps.prepare import list_data

    check_run_outside_data(data, out)
    trials = in_order(trials_of(data, table, out, seeds, overrides))
    inventory = list_data(data, trials[0].recipe.prepare)
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
                spared = step_costs(_of_its_start(trial.recipe), inventory, sizes)[CamModel.step]
                seconds -= spared.seconds
                disk_mib -= spared.disk_mib
            taken.add(trial.start)
        planned.append(PlannedTrial(trial, tuple(due), seconds, disk_mib))
    return planned
