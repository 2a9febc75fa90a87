"""A table of recipes on one data set: every row and seed run, what they share run once.

Each trial (a row with a seed) is the ordinary method; only the places of its folders differ from a
run's (``ablation_trials``). So a trial that was stopped goes on where it was, and one whose steps
others have made costs nothing. Nothing else is kept: the numbers are read from the evaluations each
time, and written anew after each trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.ablation.table import Table
from tag2mask.ablation.trials import Trial, in_order, trials_of
from tag2mask.artifacts.files import atomic_write, check_run_outside_data, write_json, write_text
from tag2mask.artifacts.handles import (
    AffinityModel,
    CamModel,
    Evaluation,
    Handle,
    PreparedData,
    SegmenterModel,
)
from tag2mask.artifacts.identity import folder_status
from tag2mask.artifacts.manifest import MANIFEST
from tag2mask.errors import (
    DataChangedError,
    DataError,
    RecipeError,
    RunFolderError,
    Tag2MaskError,
    WeightsError,
)
from tag2mask.pipeline.method import run_steps
from tag2mask.pipeline.preflight import check_id_list, check_late_networks
from tag2mask.pipeline.run import start_runtime
from tag2mask.pipeline.status import RECIPE, is_run_recipe, section_of
from tag2mask.recipe.fields import Section
from tag2mask.runtime.ranks import on_first_rank
from tag2mask.version import __version__

if TYPE_CHECKING:
    from tag2mask.ablation.scores import AblationScores, RowScores, TrialScores
    from tag2mask.runtime.session import Runtime


SCORES = "ablation.json"
MARKDOWN = "table.md"
LATEX = "table.tex"
PLOT = "plot.png"
PAGE = "index.html"


def ablate(
    data: Path,
    table: Table,
    out: Path,
    *,
    name: str,
    seeds: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    announce: Callable[[str], None] = lambda _: None,
) -> AblationScores:
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
        RunFolderError: ``out`` lies inside the data, holds files that would be written over, or
            can't be written.
    """
    from tag2mask.ablation.scores import AblationScores

    check_run_outside_data(data, out)
    _check_not_foreign(out)
    trials = trials_of(data, table, out, seeds, overrides)
    runtime = start_runtime(trials[0].recipe.runtime)
    _refuse_without_masks(data, trials[0], runtime)
    found: dict[tuple[str, int], TrialScores] = {}
    failed = _unbuildable(trials, out)
    failing = {
        trial.row.name: failed[folder]
        for trial in trials
        for folder in trial.folders.values()
        if folder in failed
    }
    for row, message in failing.items():
        announce(f"row {row!r} will fail: {message}")
    for number, trial in enumerate(in_order(trials), 1):
        announce(f"{number}/{len(trials)}: {trial.row.name}, seed {trial.seed}")
        news = not (trial.folders[Evaluation] / MANIFEST).is_file()
        result = found[trial.row.name, trial.seed] = _run(data, trial, failed, runtime)
        if result.message:
            announce(f"failed: {result.message}")
        scores = AblationScores(
            __version__,
            name,
            table.description,
            str(data),
            tuple(seeds),
            _rows(table, trials, found),
        )
        if news or number == len(trials):
            on_first_rank(runtime, partial(write_outputs, out, scores))
    return scores


def _check_not_foreign(out: Path) -> None:
    """Tables and pages of an ablation are written over again and again; those of others never."""
    if is_run_recipe(out / RECIPE):
        raise RunFolderError(
            "the folder holds a run, not an ablation", where=out, fix="Give another --out."
        )
    if not (out / SCORES).exists():
        for name in (MARKDOWN, LATEX, PLOT, PAGE):
            if (out / name).exists():
                raise RunFolderError(
                    f"the folder holds {name}, which no ablation wrote",
                    where=out,
                    fix="Give another --out, or move the file away.",
                )


def _unbuildable(trials: Sequence[Trial], out: Path) -> dict[Path, str]:
    """What is wrong with what rows read late, their networks above all, by the step's folder.

    A row would find it after hours of its earlier steps.
    """
    messages: dict[tuple[object, ...], str | None] = {}
    found: dict[Path, str] = {}
    for trial in trials:
        due = {
            kind
            for kind, folder in trial.folders.items()
            if folder_status(kind, folder).state == "missing"
        }
        if Evaluation in due and (message := _message(partial(check_id_list, trial.recipe))):
            found[trial.folders[Evaluation]] = message
        late = [kind for kind in (AffinityModel, SegmenterModel) if kind in due]
        if not late:
            continue
        # Networks that differ in nothing but their seed are built alike.
        sections = [section_of(trial.recipe, kind).model_copy(update={"seed": 0}) for kind in late]
        cam = trial.recipe.train_cam
        key = (*sections, cam.backbone, cam.init_from)
        if key not in messages:
            messages[key] = _message(partial(check_late_networks, trial.recipe, out, due))
        message = messages[key]
        if message is not None:
            found[trial.folders[late[-1]]] = message
    return found


def _message(work: Callable[[], None]) -> str | None:
    try:
        work()
    except (RecipeError, WeightsError) as error:
        return str(error)
    return None


def _refuse_without_masks(data: Path, trial: Trial, runtime: Runtime) -> None:
    """Hours of training would end without a number."""
    from tag2mask.data.index import read_mask_paths

    try:
        prepared = next(
            run_steps(data, trial.recipe, lambda kind, *_: trial.folders[kind], runtime)
        )
    except DataChangedError as error:  # whose advice is that of a single run
        raise DataChangedError(
            error.what,
            where=error.where,
            fix="Give another --out: an ablation is of one state of the data.",
        ) from None
    if not read_mask_paths(prepared.path):
        raise DataError(
            "no photo has a mask, so that nothing could be compared",
            where=data,
            fix="Add masks, of some validation photos at least; docs/reference/data.md says how.",
        )


def _run(data: Path, trial: Trial, failed: dict[Path, str], runtime: Runtime) -> TrialScores:
    """Run a trial, or note why it can't be; a step that failed once is not tried again."""
    from tag2mask.ablation.scores import TrialScores

    at = trial.folders[PreparedData]

    def place(kind: type[Handle], _read: tuple[Handle, ...], _section: Section) -> Path:
        nonlocal at
        at = trial.folders[kind]
        return at

    needed = [*trial.folders.values(), *([] if trial.start is None else [trial.start])]
    known = next((failed[folder] for folder in needed if folder in failed), None)
    if known is not None:
        return TrialScores(trial.seed, "failed", trial.command, known)
    try:
        return _result(
            trial, list(run_steps(data, trial.recipe, place, runtime, start=trial.start))
        )
    except Tag2MaskError as error:
        failed[at] = str(error)
        if (
            at == trial.folders[CamModel]
            and trial.start is not None
            and not (trial.start / MANIFEST).is_file()
        ):
            failed[trial.start] = str(error)
        return TrialScores(trial.seed, "failed", trial.command, str(error))


def _result(trial: Trial, handles: Sequence[Handle]) -> TrialScores:
    """What the steps of a trial made."""
    from tag2mask.ablation.scores import TrialScores, measured
    from tag2mask.report.run_folder import read_scores

    evaluation = handles[-1]
    assert isinstance(evaluation, Evaluation)
    manifests = [handle.manifest for handle in handles]
    skipped = dict.fromkeys(line for manifest in manifests for line in manifest.skipped)
    return TrialScores(
        trial.seed,
        "done",
        trial.command,
        seconds=sum(manifest.seconds for manifest in manifests),
        measured=measured(read_scores(evaluation)),
        skipped=tuple(skipped),
    )


def _rows(
    table: Table, trials: Sequence[Trial], found: Mapping[tuple[str, int], TrialScores]
) -> tuple[RowScores, ...]:
    """All that is known so far, by row."""
    from tag2mask.ablation.scores import TrialScores, row_scores

    rows: list[RowScores] = []
    for row in table.rows:
        own = [trial for trial in trials if trial.row == row]
        results = [
            found.get((row.name, trial.seed)) or TrialScores(trial.seed, "waiting", trial.command)
            for trial in own
        ]
        one = own[0]
        rows.append(
            row_scores(
                row.name,
                one.recipe_name,
                one.options,
                one.learns_from,
                one.measure,
                results,
                rows[0] if rows else None,
            )
        )
    return tuple(rows)


def overview(scores: AblationScores) -> str:
    """The rows' numbers as Markdown, readable in a terminal."""
    from tag2mask.ablation.text_tables import overview

    return overview(scores)


def write_outputs(out: Path, scores: AblationScores) -> None:
    """Write the numbers as JSON, tables, plot and page."""
    from tag2mask.ablation.page import ablation_page
    from tag2mask.ablation.plot import draw_ablation
    from tag2mask.ablation.text_tables import latex_table, markdown_report
    from tag2mask.report.page import render

    write_json(out / SCORES, asdict(scores))
    write_text(out / MARKDOWN, markdown_report(scores))
    write_text(out / LATEX, latex_table(scores))
    write_text(out / PAGE, render(ablation_page(scores)))
    if scores.splits:
        with atomic_write(out / PLOT) as temporary:
            draw_ablation(temporary, scores)
    else:
        (out / PLOT).unlink(missing_ok=True)
