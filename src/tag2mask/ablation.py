"""A table of recipes on one data set: every row and seed run, what they share run once.

Each trial (a row with a seed) is the ordinary method; only the places of its folders differ from a
run's. A step's folder is named by everything that it is made from, so that equal work of different
trials lies in one folder, and a trial that was stopped goes on where it was. Nothing else is kept:
the numbers are read from the evaluations each time, and written anew after each trial.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.ablation_table import Row, Table, row_options, row_recipe
from tag2mask.artifacts import Evaluation, Handle, PreparedData, write_json, write_text
from tag2mask.errors import DataError, Tag2MaskError
from tag2mask.manifests import identity_of
from tag2mask.pipeline import FirstRank, method, start_runtime
from tag2mask.recipe import Recipe
from tag2mask.run_state import refuse_run_inside_data, section_of, steps_of
from tag2mask.sections import Section

if TYPE_CHECKING:
    from tag2mask.ops.ablation import AblationScores, TrialScores
    from tag2mask.runtime import Runtime

SCORES = "ablation.json"
MARKDOWN = "table.md"
LATEX = "table.tex"


@dataclass(frozen=True)
class Trial:
    """A row with a seed.

    Attributes:
        recipe: what it runs.
        folders: of its steps, in order.
        command: makes the same as a run of its own.
    """

    row: Row
    seed: int
    recipe: Recipe
    folders: Mapping[type[Handle], Path]
    command: str


def ablate(data: Path, table: Table, out: Path, *, name: str, seeds: Sequence[int] = (0,),
           overrides: Sequence[str] = (),
           announce: Callable[[str], None] = lambda _: None) -> AblationScores:
    """Run every row of a table with every seed, and say what the rows come to.

    A trial that a user's error stops is noted, and the others go on; run the same again to resume.

    Args:
        data: the data folder; some of its photos must have masks.
        table: the rows; the others are compared with the first.
        out: folder to write; ``steps/`` in it holds the folders of all trials' steps.
        name: the table's, as the outputs say it.
        seeds: every training's seed, one trial each.
        overrides: ``section.key=value`` for all rows, over the table's.
        announce: is told what runs next.

    Raises:
        RecipeError: a row that makes no recipe.
        DataError: no data, or none with masks.
        RunFolderError: ``out`` lies inside the data, or can't be written.
    """
    refuse_run_inside_data(data, out)
    trials = trials_of(data, table, out, seeds, overrides)
    runtime = start_runtime(trials[0].recipe.runtime)
    first_rank = FirstRank(runtime)
    _refuse_without_masks(data, trials, runtime)
    found: dict[tuple[str, int], TrialScores] = {}
    failed: dict[Path, str] = {}

    def summed_up() -> AblationScores:
        return _scores(data, table, name, seeds, overrides, trials, found)

    for number, trial in enumerate(in_order(trials), 1):
        announce(f"{number}/{len(trials)}: {trial.row.name}, seed {trial.seed}")
        result = _run(data, trial, failed, runtime)
        found[trial.row.name, trial.seed] = result
        if result.message:
            announce(f"failed: {result.message}")
        first_rank(lambda: write_outputs(out, summed_up()))
    return summed_up()


def trials_of(data: Path, table: Table, out: Path, seeds: Sequence[int],
              overrides: Sequence[str] = ()) -> list[Trial]:
    """Every row with every seed, in the table's order (the arguments are those of `ablate`).

    Raises:
        RecipeError: a row that makes no recipe.
    """
    trials = []
    for row in table.rows:
        for seed in seeds:
            options = [*row_options(table, row, overrides), *seed_options(seed)]
            recipe = row_recipe(table, row, options)
            words = ["tag2mask", "run", "--data", str(data), "--recipe",
                     row.recipe or table.recipe]
            for option in options:
                words += ["--set", option]
            words += ["--out", str(out / "runs" / f"{slug(row.name)}-seed{seed}")]
            trials.append(Trial(row, seed, recipe, step_folders(recipe, out / "steps"),
                                shlex.join(words)))
    return trials


def seed_options(seed: int) -> list[str]:
    """The seed of every section that has one."""
    return [
        f"{key}.seed={seed}" for key, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        and "seed" in field.annotation.model_fields
    ]  # fmt: skip


def slug(name: str) -> str:
    """A row's name as that of a folder."""
    plain = "".join(c if c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in plain.split("-") if part) or "row"


def step_folders(recipe: Recipe, steps: Path) -> dict[type[Handle], Path]:
    """The folder of every step: equal where all settings are that it is made with.

    A step reads nothing but earlier ones, so its own identity and theirs decide; settings that
    don't change what is made count no more here than when a folder is resumed.
    """
    folders, earlier = {}, ""
    for kind in steps_of(recipe):
        if kind.step == "report":
            continue
        section = section_of(recipe, kind)
        earlier = identity_of(kind, steps, section, {"earlier": earlier}, {}).identity
        folders[kind] = steps / f"{kind.step}-{earlier[:12]}"
    return folders


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """The order of work: by seed; the first row; then rows with the most work in common.

    So the first seed's table is whole before the next seed begins, and what many rows are waiting
    for is made before what one row alone needs.
    """
    folders = [folder for trial in trials for folder in trial.folders.values()]
    places = {folder: place for place, folder in reversed(list(enumerate(folders)))}
    sharing = {folder: folders.count(folder) for folder in places}
    first = trials[0].row

    def key(trial: Trial) -> tuple[int, bool, list[tuple[int, int]]]:
        chain = [(-sharing[folder], places[folder]) for folder in trial.folders.values()]
        return trial.seed, trial.row != first, chain

    return sorted(trials, key=key)


def _refuse_without_masks(data: Path, trials: Sequence[Trial], runtime: Runtime) -> None:
    """Hours of training would end without a number."""
    from tag2mask.data.samples import read_masks

    prepared = next(method(data, trials[0].recipe, _place(trials[0]), runtime))
    if not read_masks(prepared.path):
        raise DataError("no photo has a mask, and nothing could be compared", where=data,
                        fix="Add masks, of some validation photos at least; docs/data.md says how.")


def _place(trial: Trial) -> Callable[[type[Handle], tuple[Handle, ...], Section], Path]:
    return lambda kind, _read, _section: trial.folders[kind]


def _run(data: Path, trial: Trial, failed: dict[Path, str], runtime: Runtime) -> TrialScores:
    """Run a trial, or note why it can't be; a step that failed once is not tried again."""
    from tag2mask.ops.ablation import TrialScores, measured
    from tag2mask.stages.evaluate import read_scores

    at = trial.folders[PreparedData]

    def place(kind: type[Handle], _read: tuple[Handle, ...], _section: Section) -> Path:
        nonlocal at
        at = trial.folders[kind]
        return at

    known = next((failed[folder] for folder in trial.folders.values() if folder in failed), None)
    if known is not None:
        return TrialScores(trial.seed, "failed", trial.command, known)
    try:
        handles = list(method(data, trial.recipe, place, runtime))
    except Tag2MaskError as error:
        failed[at] = str(error)
        return TrialScores(trial.seed, "failed", trial.command, str(error))
    evaluation = handles[-1]
    assert isinstance(evaluation, Evaluation)
    manifests = [handle.manifest for handle in handles]
    skipped = dict.fromkeys(line for manifest in manifests for line in manifest.skipped)
    return TrialScores(trial.seed, "done", trial.command,
                       seconds=sum(manifest.seconds for manifest in manifests),
                       measured=measured(read_scores(evaluation)), skipped=tuple(skipped))


def _scores(data: Path, table: Table, name: str, seeds: Sequence[int], overrides: Sequence[str],
            trials: Sequence[Trial],
            found: Mapping[tuple[str, int], TrialScores]) -> AblationScores:
    """All that is known so far."""
    from tag2mask.ops.ablation import AblationScores, RowScores, TrialScores, row_scores

    rows: list[RowScores] = []
    for row in table.rows:
        own = [trial for trial in trials if trial.row == row]
        recipe = own[0].recipe.train_segmenter
        supervised = recipe.enabled and recipe.masks == "ground truth"
        measure = row.measure or ("segmenter" if recipe.enabled else "masks")
        results = [found.get((row.name, trial.seed))
                   or TrialScores(trial.seed, "waiting", trial.command) for trial in own]
        rows.append(row_scores(row.name, row.recipe or table.recipe,
                               row_options(table, row, overrides),
                               "masks" if supervised else "tags", measure, results,
                               rows[0] if rows else None))
    return AblationScores(name, table.description, str(data), tuple(seeds), tuple(rows))


def write_outputs(out: Path, scores: AblationScores) -> None:
    """Write the numbers as JSON and as tables."""
    from tag2mask.ops.ablation_tables import latex_table, markdown_table

    write_json(out / SCORES, asdict(scores))
    write_text(out / MARKDOWN, markdown_table(scores))
    write_text(out / LATEX, latex_table(scores))
