"""Run every row and seed of an ablation table on one data set; shared steps run once.

Each trial (a row with a seed) is an ordinary run whose step folders are in a common place (see
`tag2mask.ablation.trials`). So an interrupted trial resumes, and a trial whose steps are finished
costs nothing. There is no other state: the results are read from the evaluations each time, and
written again after each trial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.ablation.table import AblationTable
from tag2mask.ablation.trials import Trial, execution_order, list_trials
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
from tag2mask.artifacts.placement import check_run_outside_data
from tag2mask.errors import (
    DataChangedError,
    DataError,
    RecipeError,
    RunFolderError,
    Tag2MaskError,
    WeightsError,
)
from tag2mask.evaluation.left_out import check_left_out_file
from tag2mask.files.atomic import atomic_write, write_text
from tag2mask.files.json_file import write_json
from tag2mask.pipeline.method import run_steps
from tag2mask.pipeline.preflight import check_late_networks
from tag2mask.pipeline.run import start_runtime
from tag2mask.pipeline.status import is_run_recipe, section_of
from tag2mask.recipe.loading import RECIPE
from tag2mask.runtime.ranks import on_first_rank
from tag2mask.text.escaping import visible
from tag2mask.version import __version__

if TYPE_CHECKING:
    from tag2mask.ablation.records import AblationScores, TrialScores
    from tag2mask.ablation.scores import Resampled
    from tag2mask.runtime.session import Runtime


SCORES = "ablation.json"
MARKDOWN = "table.md"
LATEX = "table.tex"
PLOT = "plot.png"
PAGE = "index.html"
RESAMPLED = "resampled"
"""Folder of the resampled scores at the best thresholds, beside ``steps``."""


def ablate(
    data: Path,
    table: AblationTable,
    out: Path,
    *,
    name: str,
    seeds: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    allow_modules: bool = False,
    announce: Callable[[str], None] = lambda _: None,
    on_step: Callable[[Handle], None] = lambda _: None,
) -> AblationScores:
    """Run every row of a table with every seed, write the results and return them.

    A failed trial (`Tag2MaskError`) is recorded, and the others continue. The same call resumes.

    Args:
        data: the data folder; some of its photos must have masks.
        table: the rows; all are compared with the first.
        out: folder to write to; the step folders of all trials are in its ``steps/``.
        name: name of the table in the outputs.
        seeds: training seeds, one trial each.
        overrides: ``section.key=value`` for all rows; override those of the table.
        allow_modules: accept modules that a recipe of a run names, see `load_recipe`.
        announce: called with progress messages.
        on_step: called once with each step that is complete; rows share steps.

    Raises:
        RecipeError: a row has no valid recipe.
        PartError: a part of the user's own has no source, or nobody agreed to its import.
        DataError: no data, or no photo has a mask.
        RunFolderError: ``out`` is inside the data, has other files that would be overwritten, or
            can't be written to.
    """
    from tag2mask.ablation.records import AblationScores
    from tag2mask.ablation.resampled import trial_resampled
    from tag2mask.ablation.rows import table_rows

    check_run_outside_data(data, out)
    _check_no_other_files(out)
    trials = list_trials(data, table, out, seeds, overrides, allow_modules=allow_modules)
    runtime = start_runtime(trials[0].recipe.runtime)
    seen: set[Path] = set()

    def finished(handle: Handle) -> None:
        if handle.path not in seen:
            seen.add(handle.path)
            on_step(handle)

    finished(_check_masks_exist(data, trials[0], runtime))
    found: dict[tuple[str, int], TrialScores] = {}
    resampled: dict[tuple[str, int], Resampled] = {}
    failed = _late_failures(trials, out)
    failing = {
        trial.row.name: failed[folder]
        for trial in trials
        for folder in trial.folders.values()
        if folder in failed
    }
    for row, message in failing.items():
        announce(f"row {row!r} will fail: {message}")
    for number, trial in enumerate(execution_order(trials), 1):
        announce(f"{number}/{len(trials)}: {visible(trial.row.name)}, seed {trial.seed}")
        is_new = not (trial.folders[Evaluation] / MANIFEST).is_file()
        result = found[trial.row.name, trial.seed] = _run(data, trial, failed, runtime, finished)
        if result.state == "done":
            evaluation = trial.folders[Evaluation]
            kept = evaluation.parent.with_name(RESAMPLED) / f"{evaluation.name}.json"
            resampled[trial.row.name, trial.seed] = trial_resampled(trial.folders, kept)
        if result.message:
            announce(f"failed: {result.message}")
        scores = AblationScores(
            __version__,
            name,
            table.description,
            str(data),
            tuple(seeds),
            table_rows(table, trials, found, resampled),
        )
        if is_new or number == len(trials):
            on_first_rank(runtime, partial(write_outputs, out, scores))
    return scores


def _check_no_other_files(out: Path) -> None:
    """Check that no run and no file of other origin in the folder would be overwritten."""
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


def _late_failures(trials: Sequence[Trial], out: Path) -> dict[Path, str]:
    """Check networks and files that rows need late; return error messages by step folder.

    Otherwise a row would fail after hours of earlier steps.
    """
    messages: dict[tuple[object, ...], str | None] = {}
    found: dict[Path, str] = {}
    for trial in trials:
        due = {
            kind
            for kind, folder in trial.folders.items()
            if folder_status(kind, folder).state == "missing"
        }
        file = trial.recipe.evaluate.leave_out
        if Evaluation in due and file and (message := _message(partial(check_left_out_file, file))):
            found[trial.folders[Evaluation]] = message
        late = [kind for kind in (AffinityModel, SegmenterModel) if kind in due]
        if not late:
            continue
        # The seed makes no difference to whether a network can be built.
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


def _check_masks_exist(data: Path, trial: Trial, runtime: Runtime) -> Handle:
    """Check before the training that there are masks to compare with; return the prepared data."""
    from tag2mask.data.index import read_mask_paths

    try:
        prepared = next(run_steps(data, trial.recipe, lambda kind: trial.folders[kind], runtime))
    except DataChangedError as error:  # Its advice applies to a single run only.
        raise DataChangedError(
            error.what,
            where=error.where,
            fix="Give another --out: all trials of an ablation must use the same data.",
        ) from None
    if not read_mask_paths(prepared.path):
        raise DataError(
            "no photo has a mask, so there is nothing to compare with",
            where=data,
            fix="Add masks of at least some validation photos; see docs/reference/data.md.",
        )
    return prepared


def _run(
    data: Path,
    trial: Trial,
    failed: dict[Path, str],
    runtime: Runtime,
    on_step: Callable[[Handle], None],
) -> TrialScores:
    """Run a trial, or record its error; a step that failed before is not tried again."""
    from tag2mask.ablation.records import TrialScores

    at = trial.folders[PreparedData]

    def place(kind: type[Handle]) -> Path:
        nonlocal at
        at = trial.folders[kind]
        return at

    needed = [*trial.folders.values(), *([] if trial.start is None else [trial.start])]
    known = next((failed[folder] for folder in needed if folder in failed), None)
    if known is not None:
        return TrialScores(trial.seed, "failed", trial.command, known)
    try:
        handles = []
        for handle in run_steps(data, trial.recipe, place, runtime, start=trial.start):
            on_step(handle)
            handles.append(handle)
        return _result(trial, handles)
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
    """Return the results of a trial from its finished steps."""
    from tag2mask.ablation.records import TrialScores
    from tag2mask.ablation.scores import measurements
    from tag2mask.evaluation.records import read_scores

    evaluation = handles[-1]
    assert isinstance(evaluation, Evaluation)
    manifests = [handle.manifest for handle in handles]
    skipped = dict.fromkeys(line for manifest in manifests for line in manifest.skipped)
    return TrialScores(
        trial.seed,
        "done",
        trial.command,
        seconds=sum(manifest.seconds for manifest in manifests),
        measured=measurements(read_scores(evaluation)),
        skipped=tuple(skipped),
    )


def write_outputs(out: Path, scores: AblationScores) -> None:
    """Write the results as JSON, Markdown, LaTeX, plot and page."""
    from tag2mask.ablation.latex_table import latex_table
    from tag2mask.ablation.page import ablation_page
    from tag2mask.ablation.plot import draw_ablation
    from tag2mask.ablation.text_tables import markdown_report
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
