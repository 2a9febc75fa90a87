"""A run: all steps in order, each in its own folder inside the run folder.

Each step decides by itself whether its folder is complete, can be resumed or was made from
something else (``artifacts``). Here are the checks before the first step, what ``--redo`` repeats,
and the recipe that the run folder keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import Handle, PreparedData, ReportPage
from tag2mask.artifacts.identity import folder_status
from tag2mask.artifacts.manifest import read_identity
from tag2mask.artifacts.placement import check_run_outside_data
from tag2mask.artifacts.redo import delete_kept, redone_steps
from tag2mask.files.atomic import write_text
from tag2mask.files.lock import folder_lock, is_read_only
from tag2mask.pipeline.branch import copy_steps, held_steps, is_begun
from tag2mask.pipeline.corrections import step_to_redo
from tag2mask.pipeline.method import run_steps
from tag2mask.pipeline.nodes import check_same_work, check_shared_folder
from tag2mask.pipeline.preflight import check_no_other_recipe, check_own_masks, check_start
from tag2mask.pipeline.status import (
    check_redo,
    redone_folders,
    step_index,
    steps_of,
)
from tag2mask.pipeline.trained_classes import check_start_files, start_warnings
from tag2mask.recipe.loading import RECIPE, RECIPE_HEAD, dump_recipe, load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.sections import RuntimeSettings
from tag2mask.runtime.ranks import on_first_rank

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory
    from tag2mask.runtime.session import Runtime


@dataclass(frozen=True)
class RunResult:
    """The folders of a run.

    Attributes:
        path: the run folder.
        handles: the steps that are complete now, by name, in order.
    """

    path: Path
    handles: dict[str, Handle]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Photos skipped by any step, each with its reason, once."""
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
    source: Path | None = None,
    corrections: Path | None = None,
    on_step: Callable[[Handle], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> RunResult:
    """Run the steps in order into the step folders of ``out``.

    Complete steps are skipped, partial ones resumed.

    Args:
        data: the data folder.
        recipe: settings of every step; written to ``out`` as ``recipe.yaml``.
        out: the run folder.
        until: name of the last step to run; None: all.
        update: the data changed: keep the trained models as they are, redo the maps and masks of
            the photos that changed, and repeat the evaluation and the report.
        redo: name of the first step to repeat, with all later ones; their earlier results are
            deleted once it has begun.
        compare: other run folders that the report compares with this one.
        source: another run; a new run starts from its finished steps that ``recipe`` would make the
            same.
        corrections: folder of decisions and masks; None: those that the run was made with. With
            ``update``, a network that learned from others is trained again.
        on_step: called with each step once it is complete.
        on_warning: called at the start with each class that a network to start from doesn't share.

    Raises:
        RunFolderError: ``out`` was made by another recipe or from other data, or can't be written.
        NodesError: several machines have other versions, recipes or photos, or don't share ``out``.
        DataError: unusable data, no such step, or a ``redo`` after ``until``.
        Tag2MaskError: what the steps raise.
    """
    from tag2mask.data.prepare.listing import list_data

    steps = steps_of(recipe)
    check_redo(recipe, until, redo)
    redo = step_to_redo(
        recipe, out, corrections, redo=redo, until=until, update=update, source=source
    )
    if until is not None:
        steps = steps[: step_index(until, recipe) + 1]
    check_run_outside_data(data, out)
    check_start_files(recipe, out)
    check_own_masks(recipe, out, redo)
    redone = redone_folders(recipe, out, redo)
    runtime = start_runtime(recipe.runtime)
    options = {"--data": data.absolute(), "--until": until, "--update": update, "--redo": redo}
    check_same_work(runtime, recipe, options)
    check_shared_folder(runtime, out)
    listed: Inventory | None = None
    handles: dict[str, Handle] = {}
    with ExitStack() as locks:

        def begin() -> None:
            nonlocal listed
            # The photos that were drawn for validation stay what they were.
            before = out if source is None or is_begun(out) else source
            prepared = None if redo == PreparedData.step else before / PreparedData.step
            listed = list_data(data, recipe.prepare, prepared, corrections)
            if redo is not None or not is_read_only(out):  # a finished run only reads its folder
                locks.enter_context(folder_lock(out, remove=True))
            if source is not None and not is_begun(out):
                kinds = held_steps(source, recipe, redo)
                rest = [kind for kind in steps if kind not in kinds]
                check_no_other_recipe(out)
                check_start(recipe, source, listed, steps, rest, update, compare)
                copy_steps(source, out, [kind for kind in kinds if kind in steps])
            else:
                check_start(
                    recipe, out, listed, steps, [kind for kind, _ in redone], update, compare
                )
            if redone:
                locks.enter_context(_redoing(redone, out))
            _write_recipe(recipe, out)
            states = {kind: folder_status(kind, out / kind.step).state for kind in steps}
            due = [kind for kind, state in states.items() if state in ("missing", "partial")]
            for warning in start_warnings(recipe, listed, due):
                on_warning(warning)

        on_first_rank(runtime, begin)
        made = run_steps(
            data,
            recipe,
            lambda kind: out / kind.step,
            runtime,
            update=update,
            listed=listed,
        )
        for handle in made:
            handles[handle.step] = handle
            if handle.step == redo:
                on_first_rank(runtime, lambda: _delete_earlier(redone))
            on_step(handle)
            if handle.step == steps[-1].step:
                return RunResult(out, handles)
        page = out / ReportPage.step
        on_first_rank(runtime, lambda: _write_report(out, recipe, page, compare))
        handles[ReportPage.step] = ReportPage.open(page)
    return RunResult(out, handles)


def demo(out: Path, *, on_step: Callable[[Handle], None] = lambda _: None) -> dict[str, RunResult]:
    """Generate a small tagged data set, train the CAM baseline and SEAM on it, and compare them.

    Args:
        out: folder of the SEAM run; ``data/`` and ``cam-baseline/`` are written inside it.
        on_step: called with each step of the two runs once it is complete.

    Returns:
        The two runs by name, ``CAM baseline`` and ``SEAM``.
    """
    from tag2mask.data.demo.scenes import make_demo_data

    data, baseline = make_demo_data(out / "data", seed=0), out / "cam-baseline"
    return {
        "CAM baseline": run(data, load_recipe("demo-cam-baseline"), baseline, on_step=on_step),
        "SEAM": run(data, load_recipe("demo-seam"), out, compare=(baseline,), on_step=on_step),
    }


def start_runtime(settings: RuntimeSettings) -> Runtime:
    """Start the devices and processes that the settings ask for."""
    from tag2mask.runtime.session import Runtime

    return Runtime.start(**settings.model_dump())


def _write_report(out: Path, recipe: Recipe, page: Path, compare: Sequence[Path]) -> None:
    from tag2mask.steps.report import report

    report(out, recipe.report, page, compare)


@contextmanager
def _redoing(folders: Sequence[tuple[type[Handle], Path]], out: Path) -> Iterator[None]:
    """Repeat steps as `redone_steps`; where that changed nothing, keep the earlier recipe, too."""
    path, first = out / RECIPE, folders[0][1]
    recipe = path.read_bytes() if path.is_file() else None
    before = read_identity(first)
    try:
        with redone_steps(folders):
            yield
    finally:
        if recipe is not None and before is not None and read_identity(first) == before:
            write_text(path, recipe.decode("utf-8"))


def _delete_earlier(folders: Sequence[tuple[type[Handle], Path]]) -> None:
    for _, folder in folders:
        delete_kept(folder)


def _write_recipe(recipe: Recipe, out: Path) -> None:
    path, text = out / RECIPE, f"{RECIPE_HEAD}\n{dump_recipe(recipe)}"
    # The report depends on the file's time: an unchanged recipe isn't written again.
    if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
        write_text(path, text)
