"""The steps in order: the method, from tags to masks.

``run`` reads as the paper's method does. Each step decides by itself whether its folder is
complete, to be resumed or to be refused (``artifacts``); here is only their order, what a change of
the data may keep. Stages are imported when they run, so importing this costs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.files import check_run_outside_data, write_text
from tag2mask.artifacts.handles import STEPS, Evaluation, Handle, ReportPage
from tag2mask.artifacts.step_folder import remove_step_folder
from tag2mask.errors import RunFolderError
from tag2mask.pipeline.dry_run import Plan, PlannedStep, dry_run
from tag2mask.pipeline.method import Place, run_steps
from tag2mask.pipeline.preflight import check_id_list, check_late_networks, check_runs
from tag2mask.pipeline.status import (
    RECIPE,
    StepStatus,
    check_redo,
    folder_states,
    other_settings,
    status,
    step_index,
    steps_of,
)
from tag2mask.recipe.loading import dump_recipe, load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.sections import RuntimeSettings
from tag2mask.runtime.ranks import on_first_rank

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime


__all__ = [
    "STEPS",
    "Place",
    "Plan",
    "PlannedStep",
    "RunResult",
    "StepStatus",
    "check_id_list",
    "check_late_networks",
    "demo",
    "dry_run",
    "is_run_recipe",
    "run",
    "run_steps",
    "start_runtime",
    "status",
]


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Attributes:
        path: the run folder.
        handles: of the steps that are complete now, by name, in order.
    """

    path: Path
    handles: dict[str, Handle]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Photos that a step left out, each with its reason, once."""
        lines = (line for handle in self.handles.values() for line in handle.manifest.skipped)
        return tuple(dict.fromkeys(lines))


def run(
    data: Path,
    recipe: Recipe,
    out: Path,
    *,
    until: str | None = None,
    update: bool = False,
    redo: str | None = None,
    compare: Sequence[Path] = (),
) -> RunResult:
    """Run the steps in order into the step folders of ``out``.

    Complete steps are skipped, partial ones resumed.

    Args:
        data: the data folder.
        recipe: settings of every step; written to ``out`` as ``recipe.yaml``.
        out: the run folder.
        until: name of the last step to run; None: all.
        update: the data changed: keep the trained models as they are, redo the maps and masks of
            the photos that changed, evaluate and report anew.
        redo: name of the first step to make anew; its folder and all later ones are deleted.
        compare: other run folders that the report shows beside this one.

    Raises:
        RunFolderError: ``out`` was made by another recipe or from other data, or can't be written.
        DataError: data that can't be used, no such step, or a ``redo`` after ``until``.
        Tag2MaskError: what the steps raise.
    """
    steps = steps_of(recipe)
    check_redo(recipe, until, redo)
    if until is not None:
        steps = steps[: step_index(until, recipe) + 1]
    check_run_outside_data(data, out)
    if compare and ReportPage in steps:
        check_runs(compare)
    runtime = start_runtime(recipe.runtime)
    on_first_rank(runtime, lambda: _begin(recipe, out, steps, redo))
    handles: dict[str, Handle] = {}
    for handle in run_steps(data, recipe, _in_folder(out), runtime, update=update):
        handles[handle.step] = handle
        if handle.step == steps[-1].step:
            return RunResult(out, handles)
    page = out / ReportPage.step
    on_first_rank(runtime, lambda: report_page(out, recipe, page, compare))
    handles[ReportPage.step] = ReportPage.open(page)
    return RunResult(out, handles)


def report_page(out: Path, recipe: Recipe, page: Path, compare: Sequence[Path]) -> None:
    """Write the page of a run."""
    from tag2mask.steps.report import report

    report(out, recipe.report, page, compare)


def _in_folder(out: Path) -> Place:
    """Every step's folder by its name, in the run's."""
    return lambda kind, _read, _section: out / kind.step


def demo(out: Path) -> dict[str, RunResult]:
    """Make a small tagged data set, train the CAM baseline and SEAM on it, and compare them.

    Args:
        out: folder of the SEAM run; ``data/`` and ``cam-baseline/`` are made in it.

    Returns:
        The two runs by name, ``CAM baseline`` and ``SEAM``.
    """
    from tag2mask.data.demo import make_demo_data

    data, baseline = make_demo_data(out / "data", seed=0), out / "cam-baseline"
    return {
        "CAM baseline": run(data, load_recipe("demo-cam-baseline"), baseline),
        "SEAM": run(data, load_recipe("demo-seam"), out, compare=(baseline,)),
    }


def start_runtime(settings: RuntimeSettings) -> Runtime:
    """Claim the devices that the settings ask for."""
    from tag2mask.runtime.session import Runtime

    return Runtime.start(
        device=settings.device,
        devices=settings.devices,
        workers=settings.workers,
        threads=settings.threads,
    )


_HEAD = "# The settings of this run, as `tag2mask run` took them."
"""First line of the recipe in a run folder."""


def _begin(recipe: Recipe, out: Path, steps: Sequence[type[Handle]], redo: str | None) -> None:
    """Refuse what can't become a run, make room for what is to be redone, and note the recipe.

    Refused are folders that another recipe made, and networks that can't be built.
    """
    redone: Sequence[type[Handle]] = ()
    if redo is not None:
        redone = STEPS[STEPS.index(steps_of(recipe)[step_index(redo, recipe)]) :]
    # The page is cheap, and never refused.
    taken = {kind.step for kind in steps if kind is not ReportPage and kind not in redone}
    states = folder_states(out, recipe)
    refused = [found for found in states if found.step in taken and found.folder.settings]
    if refused:
        raise other_settings(refused, out)
    if Evaluation in steps:
        check_id_list(recipe)
    begun = {found.step for found in states if found.folder.state != "missing"}
    path = out / RECIPE
    if not begun and path.is_file() and not is_run_recipe(path):
        raise RunFolderError(
            f"the folder holds a {RECIPE} that no run wrote",
            where=out,
            fix="Give another --out: the run's recipe would replace it.",
        )
    check_late_networks(
        recipe, out, {kind for kind in steps if kind in redone or kind.step not in begun}
    )
    for kind in reversed(redone):
        remove_step_folder(kind, out / kind.step)
    text = f"{_HEAD}\n{dump_recipe(recipe)}"
    # The report looks at the file's time: an unchanged recipe is left as it lies.
    if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
        write_text(path, text)


def is_run_recipe(recipe: Path) -> bool:
    """Whether a recipe's file is there, and a run wrote it."""
    return recipe.is_file() and recipe.read_bytes().startswith(_HEAD.encode())
