"""The commands of the single steps: folders of earlier steps in, one folder out.

Each opens its handles, takes its section of the recipe and calls the step's function; stages are
imported inside, so that ``--help`` needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.artifacts import (
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    folder_status,
    remove_step_folder,
)
from tag2mask.console import show_handle, show_skipped
from tag2mask.recipe import Recipe, load_recipe
from tag2mask.run_state import RECIPE
from tag2mask.sections import Section

if TYPE_CHECKING:
    from tag2mask.runtime import Runtime

DEFAULT_RECIPE = "lite0-cpu"
LEFT_OUT = 3


class SourceName(StrEnum):
    """The layouts of a data folder."""

    AUTO = "auto"
    VOC = "voc"
    CSV = "csv"
    FOLDERS = "folders"
    COCO = "coco"


class TagChoice(StrEnum):
    """Whose tags decide which maps a photo gets."""

    KNOWN = "known"
    PREDICTED = "predicted"


DataFolder = Annotated[Path, typer.Option("--data", help="Folder of photos and tags.")]
Prepared = Annotated[Path, typer.Option("--data", help="Folder that `prepare` wrote.")]
Maps = Annotated[Path, typer.Option("--maps", help="Folder that `infer-cam` wrote.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Shipped recipe, or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value; repeatable."),
]
Source = Annotated[SourceName | None, typer.Option("--source", help="Layout of the data folder.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave unreadable photos out and list them.")
]
Redo = Annotated[bool, typer.Option("--redo", help="Delete the step's folder first.")]
Compare = Annotated[
    list[Path] | None, typer.Option("--compare", help="Another run to show beside; repeatable.")
]


def prepare(
    data: DataFolder, out: Out, recipe: RecipeName = DEFAULT_RECIPE, overrides: Overrides = None,
    source: Source = None, skip_bad: SkipBad = False,
    update: Annotated[bool, typer.Option("--update", help="Take in what changed.")] = False,
    redo: Redo = False,
) -> None:  # fmt: skip
    """Read a data folder: which photos, splits, tags and classes."""
    from tag2mask.stages import prepare as stage

    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad, source=source)
    _clear(PreparedData, out, redo)
    _done(stage.prepare(data, settings.prepare, out, update=update))


def train_cam(
    out: Out,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `prepare` wrote.")
    ] = None,
    recipe: RecipeName = DEFAULT_RECIPE, overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option("--import", help="Take a trained model (resnet38_SEAM.pth) instead."),
    ] = None,
    skip_bad: SkipBad = False, redo: Redo = False,
) -> None:  # fmt: skip
    """Train the network whose activation maps become masks."""
    from tag2mask.stages import train_cam as stage

    if (data is None) == (import_file is None):
        raise typer.BadParameter("give either --data (to train) or --import (a trained model)")
    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
    if import_file is not None:
        _clear(CamModel, out, redo)
        _done(stage.import_model(import_file, out))
    if data is not None:
        prepared, runtime = PreparedData.open(data), _runtime(settings)
        _clear(CamModel, out, redo, runtime)
        _done(stage.train_cam(prepared, settings.train_cam, out, runtime))


def infer_cam(
    data: Prepared,
    model: Annotated[Path, typer.Option(help="Folder that `train-cam` wrote.")],
    out: Out, recipe: RecipeName = DEFAULT_RECIPE, overrides: Overrides = None,
    tags: Annotated[
        TagChoice | None, typer.Option(help="Maps of the known tags, or of predicted ones.")
    ] = None,
    skip_bad: SkipBad = False, redo: Redo = False,
) -> None:  # fmt: skip
    """Compute the activation maps of every photo."""
    from tag2mask.stages import infer_cam as stage

    chosen = [] if tags is None else [f"infer_cam.tags={tags.value}"]
    settings = chosen_recipe(recipe, [*(overrides or ()), *chosen], skip_bad=skip_bad)
    prepared, trained = PreparedData.open(data), CamModel.open(model)
    runtime = _runtime(settings)
    _clear(CamMaps, out, redo, runtime)
    _done(stage.infer_cam(prepared, trained, settings.infer_cam, out, runtime))


def pseudo_masks(
    data: Prepared, maps: Maps, out: Out, recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None, redo: Redo = False,
) -> None:  # fmt: skip
    """Turn maps into masks: palette PNGs."""
    from tag2mask.stages import pseudo_masks as stage

    settings = chosen_recipe(recipe, overrides)
    prepared, cam_maps, runtime = PreparedData.open(data), CamMaps.open(maps), _runtime(settings)
    _clear(PseudoMaskFolder, out, redo, runtime)
    _done(stage.pseudo_masks(prepared, cam_maps, settings.pseudo_masks, out, runtime))


def evaluate(
    data: Prepared, maps: Maps,
    masks: Annotated[Path, typer.Option(help="Folder that `pseudo-masks` wrote.")],
    out: Out, recipe: RecipeName = DEFAULT_RECIPE, overrides: Overrides = None,
    calibrate: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="First choose the background score on N masked "
                     "training photos, and make the folder of --masks anew with it."),
    ] = None,
    redo: Redo = False,
) -> None:  # fmt: skip
    """Say how good maps, masks and tags are."""
    from tag2mask.stages import evaluate as stage
    from tag2mask.stages.pseudo_masks import pseudo_masks as make_masks

    chosen = [] if calibrate is None else [
        "pseudo_masks.background=calibrated", f"pseudo_masks.calibrate_photos={calibrate}"]
    settings = chosen_recipe(recipe, [*(overrides or ()), *chosen])
    prepared, cam_maps, runtime = PreparedData.open(data), CamMaps.open(maps), _runtime(settings)
    if calibrate is not None:
        differs = folder_status(PseudoMaskFolder, masks, settings.pseudo_masks).settings
        _clear(PseudoMaskFolder, masks, bool(differs), runtime)
        make_masks(prepared, cam_maps, settings.pseudo_masks, masks, runtime)
    made = PseudoMaskFolder.open(masks)
    _clear(Evaluation, out, redo, runtime)
    _done(stage.evaluate(prepared, cam_maps, made, settings.evaluate, out, runtime))


def report(
    run: Annotated[Path, typer.Option("--run", help="Run folder to tell of.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: RUN/report.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Default: the run's own.")
    ] = None,
    overrides: Overrides = None, compare: Compare = None, redo: Redo = False,
) -> None:  # fmt: skip
    """Write the HTML page of a run."""
    from tag2mask.stages import report as stage

    own = run / RECIPE
    settings = chosen_recipe(recipe or (str(own) if own.is_file() else DEFAULT_RECIPE), overrides)
    folder = out or run / "report"
    _clear(ReportPage, folder, redo)
    _done(stage.report(run, settings.report, folder, compare or ()))


def chosen_recipe(name: str, overrides: Sequence[str] | None, *, skip_bad: bool = False,
            source: SourceName | None = None) -> Recipe:
    """Load a recipe with ``--set`` and with the options that are short for it."""
    extra = [] if source is None else [f"prepare.source={source.value}"]
    if skip_bad:
        for key, field in Recipe.model_fields.items():
            section = field.annotation
            if isinstance(section, type) and issubclass(section, Section) \
                    and "skip_bad" in section.model_fields:
                extra.append(f"{key}.skip_bad=true")
    return load_recipe(name, [*(overrides or ()), *extra])


def _runtime(settings: Recipe) -> Runtime:
    from tag2mask.runtime import Runtime

    return Runtime.start(**settings.runtime.model_dump())


def _clear(kind: type[Handle], out: Path, redo: bool, runtime: Runtime | None = None) -> None:
    """Delete a step's folder where it is to be made anew; all ranks wait for it.

    A step of several processes must give its runtime: else another rank could take the old folder
    for a complete one.
    """
    def remove() -> None:
        if is_first_process():
            remove_step_folder(kind, out)

    if redo and runtime is not None:
        runtime.together(remove)
    elif redo:
        remove()


def is_first_process() -> bool:
    """Whether this is rank 0, before and after the other ranks are started."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK"))


def _done(handle: Handle) -> None:
    if is_first_process():
        show_handle(handle)
    end(handle.manifest.skipped)


def end(skipped: Sequence[str]) -> None:
    """Exit with 3 where photos were left out, naming the first ones."""
    if skipped:
        if is_first_process():
            show_skipped(skipped)
        raise typer.Exit(LEFT_OUT)
