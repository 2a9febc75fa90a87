"""The steps in order: the method, from tags to masks.

``run`` reads as the paper's method does. Each step decides by itself whether its folder is
complete, to be resumed or to be refused (``artifacts``); here is only their order, what a change of
the data may keep. Stages are imported when they run, so importing this costs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts import (
    AffinityLabels,
    AffinityModel,
    AnyMaps,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
    WalkedMaps,
    folder_status,
    remove_step_folder,
    write_text,
)
from tag2mask.dry_run import Plan, PlannedStep, dry_run
from tag2mask.errors import RecipeError, RunFolderError, Tag2MaskError
from tag2mask.files import refuse_run_inside_data
from tag2mask.manifests import HandleT
from tag2mask.recipe import Recipe, dump_recipe, load_recipe
from tag2mask.run_state import (
    RECIPE,
    STEPS,
    StepStatus,
    folder_states,
    other_settings,
    refuse_useless_redo,
    section_of,
    status,
    step_index,
    steps_of,
)
from tag2mask.sections import RuntimeSettings, Section

if TYPE_CHECKING:
    from tag2mask.runtime import Runtime

__all__ = [
    "STEPS", "FirstRank", "Place", "Plan", "PlannedStep", "RunResult", "StepStatus", "demo",
    "dry_run", "is_a_runs", "method", "refuse_missing_list", "run", "start_runtime", "status",
    "try_late_networks",
]  # fmt: skip


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
    refuse_useless_redo(recipe, until, redo)
    if until is not None:
        steps = steps[: step_index(until, recipe) + 1]
    refuse_run_inside_data(data, out)
    if compare and ReportPage in steps:
        _refuse_no_runs(compare)
    runtime = start_runtime(recipe.runtime)
    first_rank = FirstRank(runtime)
    first_rank(lambda: _begin(recipe, out, steps, redo))
    handles: dict[str, Handle] = {}
    for handle in method(data, recipe, _in_folder(out), runtime, update=update):
        handles[handle.step] = handle
        if handle.step == steps[-1].step:
            return RunResult(out, handles)
    page = out / ReportPage.step
    first_rank(lambda: report_page(out, recipe, page, compare))
    handles[ReportPage.step] = ReportPage.open(page)
    return RunResult(out, handles)


Place = Callable[[type[Handle], tuple[Handle, ...], Section], Path]
"""Where a step's folder lies, from the step, the folders it reads and its settings."""


def method(data: Path, recipe: Recipe, place: Place, runtime: Runtime, *,
           update: bool = False, start: Path | None = None) -> Iterator[Handle]:
    """The method: tags -> classifier -> maps -> affinities, walk -> masks -> network -> evidence.

    A step runs when the iterator is asked for its handle, so a caller may stop after any of them.

    Args:
        data: the data folder.
        recipe: settings of every step.
        place: where each step's folder lies.
        runtime: where to run.
        update: as in `run`.
        start: as in `stages.train_cam.train_cam`.

    Yields:
        The handle of each step, in order.
    """
    from tag2mask.stages.affinity_labels import affinity_labels
    from tag2mask.stages.evaluate import evaluate
    from tag2mask.stages.infer_cam import infer_cam
    from tag2mask.stages.prepare import prepare
    from tag2mask.stages.pseudo_masks import pseudo_masks
    from tag2mask.stages.train_affinity import train_affinity
    from tag2mask.stages.train_cam import train_cam
    from tag2mask.stages.walk import walk

    def folder(kind: type[Handle], *read: Handle) -> Path:
        return place(kind, read, section_of(recipe, kind))

    def kept(kind: type[HandleT], path: Path) -> HandleT | None:
        """The trained network as it is, where a change of the data is to keep it."""
        return kind.open(path) if update and _is_complete(kind, path) else None

    out = folder(PreparedData)
    FirstRank(runtime)(lambda: prepare(data, recipe.prepare, out, update=update))
    prepared = PreparedData.open(out)
    yield prepared

    out = folder(CamModel, prepared)
    model = kept(CamModel, out) or train_cam(
        prepared, recipe.train_cam, out, runtime, start)
    yield model

    maps: AnyMaps = infer_cam(prepared, model, recipe.infer_cam,
                              folder(CamMaps, prepared, model), runtime)
    earlier: tuple[AnyMaps, ...] = ()
    yield maps

    if recipe.walk.enabled:
        labels = affinity_labels(prepared, maps, recipe.affinity_labels,
                                 folder(AffinityLabels, prepared, maps), runtime)
        yield labels

        out = folder(AffinityModel, prepared, labels)
        affinity = kept(AffinityModel, out) or train_affinity(
            prepared, labels, recipe.train_affinity, out, runtime)
        yield affinity

        earlier = (maps,)
        maps = walk(prepared, maps, affinity, recipe.walk,
                    folder(WalkedMaps, prepared, maps, affinity), runtime)
        yield maps

    masks = pseudo_masks(prepared, maps, recipe.pseudo_masks,
                         folder(PseudoMaskFolder, prepared, maps), runtime)
    yield masks

    predictions: Predictions | None = None
    if recipe.train_segmenter.enabled:
        from tag2mask.stages.predict import predict_prepared
        from tag2mask.stages.train_segmenter import train_segmenter

        out = folder(SegmenterModel, prepared, masks)
        segmenter = kept(SegmenterModel, out) or train_segmenter(
            prepared, masks, recipe.train_segmenter, out, runtime)
        yield segmenter

        predictions = predict_prepared(prepared, segmenter, recipe.predict,
                                       folder(Predictions, prepared, segmenter), runtime)
        yield predictions

    read = (prepared, maps, masks, *earlier, *(() if predictions is None else (predictions,)))
    yield evaluate(prepared, maps, masks, recipe.evaluate, folder(Evaluation, *read), runtime,
                   earlier, predictions)


def report_page(out: Path, recipe: Recipe, page: Path, compare: Sequence[Path]) -> None:
    """Write the page of a run."""
    from tag2mask.stages.report import report

    report(out, recipe.report, page, compare)


def _in_folder(out: Path) -> Place:
    """Every step's folder by its name, in the run's."""
    return lambda kind, _read, _section: out / kind.step


def _is_complete(kind: type[Handle], folder: Path) -> bool:
    return folder_status(kind, folder).state in ("fresh", "stale")


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
    from tag2mask.runtime import Runtime

    return Runtime.start(device=settings.device, devices=settings.devices,
                         workers=settings.workers, threads=settings.threads)


class FirstRank:
    """Calls a function on rank 0 alone; the other ranks wait, and stop where it failed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, work: Callable[[], object]) -> None:
        """Call it.

        Raises:
            Tag2MaskError: what it raised; on the other ranks, that the first process stopped.
            OSError: what it raised.
        """
        failure: Tag2MaskError | OSError | None = None
        if self._runtime.rank == 0:
            try:
                work()
            except (Tag2MaskError, OSError) as error:
                failure = error
        failed = self._runtime.all_gather_object(failure is not None)[0]
        if failure is not None:
            raise failure
        if failed:
            raise Tag2MaskError("the first process stopped", fix="Its own message says why.")


def _refuse_no_runs(compare: Sequence[Path]) -> None:
    """The page of a run comes after hours of training."""
    from tag2mask.report.runs import open_runs

    open_runs(compare)


_HEAD = "# The settings of this run, as `tag2mask run` took them."
"""First line of the recipe in a run folder."""


def _begin(recipe: Recipe, out: Path, steps: Sequence[type[Handle]], redo: str | None) -> None:
    """Refuse what can't become a run, make room for what is to be redone, and note the recipe.

    Refused are folders that another recipe made, and networks that can't be built.
    """
    redone: Sequence[type[Handle]] = ()
    if redo is not None:
        redone = STEPS[STEPS.index(steps_of(recipe)[step_index(redo, recipe)]):]
    # The page is cheap, and never refused.
    taken = {kind.step for kind in steps if kind is not ReportPage and kind not in redone}
    states = folder_states(out, recipe)
    refused = [found for found in states if found.step in taken and found.folder.settings]
    if refused:
        raise other_settings(refused, out)
    if Evaluation in steps:
        refuse_missing_list(recipe)
    begun = {found.step for found in states if found.folder.state != "missing"}
    path = out / RECIPE
    if not begun and path.is_file() and not is_a_runs(path):
        raise RunFolderError(f"the folder holds a {RECIPE} that no run wrote", where=out,
                             fix="Give another --out: the run's recipe would replace it.")
    try_late_networks(recipe, out, {kind for kind in steps
                                    if kind in redone or kind.step not in begun})
    for kind in reversed(redone):
        remove_step_folder(kind, out / kind.step)
    text = f"{_HEAD}\n{dump_recipe(recipe)}"
    # The report looks at the file's time: an unchanged recipe is left as it lies.
    if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
        write_text(path, text)


def is_a_runs(recipe: Path) -> bool:
    """Whether a recipe's file is there, and a run wrote it."""
    return recipe.is_file() and recipe.read_bytes().startswith(_HEAD.encode())


def refuse_missing_list(recipe: Recipe) -> None:
    """The evaluation, which reads ``evaluate.leave_out``, comes after hours of training.

    Raises:
        RecipeError: the list is not there.
    """
    path = recipe.evaluate.leave_out
    if path is not None and not Path(path).is_file():
        raise RecipeError(f"no list of ids {path!r}", where="evaluate.leave_out",
                          fix="Give a text file with one id a line, or null.")


def try_late_networks(recipe: Recipe, out: Path, due: Collection[type[Handle]]) -> None:
    """Build the networks once whose turn comes late; see `stages.networks`.

    Args:
        recipe: of the run.
        out: where its files of weights may be written.
        due: steps that have yet to begin.

    Raises:
        RecipeError: a network can't be built, or takes no such crops.
        WeightsError: its weights are missing, damaged or of another network.
    """
    affinity = recipe.train_affinity if AffinityModel in due else None
    segmenter = recipe.train_segmenter if SegmenterModel in due else None
    if affinity is None and segmenter is None:
        return
    from tag2mask.stages.networks import try_networks

    cam = recipe.train_cam if CamModel in due else None
    # One that goes on from another network never looks at its backbone's weights.
    built = cam.backbone if cam is not None and cam.init_from is None else None
    try_networks(affinity, segmenter, built=built, run=out)
