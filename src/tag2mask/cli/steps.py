"""Commands of the steps that don't train: folders of earlier steps in, one folder out.

Each opens its handles, takes its section of the recipe and calls the step's function. Steps are
imported inside the commands, so that ``--help`` needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tag2mask.artifacts.handles import (
    AffinityLabels,
    CamMaps,
    CamModel,
    Evaluation,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    WalkedMaps,
    open_maps,
    walk_model,
)
from tag2mask.cli.options import (
    AllowModules,
    Compare,
    CorrectionsFolder,
    DataFolder,
    Maps,
    Out,
    Overrides,
    Prepared,
    Redo,
    RunRecipe,
    SkipBad,
    Source,
    TagChoice,
    Yes,
    connect,
    finish_step,
    load_chosen_recipe,
    on_first_process_only,
    redo_step,
    run_recipe_or_default,
    start_runtime,
    step_recipe,
)
from tag2mask.errors import DataError


def prepare(
    data: DataFolder,
    out: Out,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    source: Source = None,
    skip_bad: SkipBad = False,
    update: Annotated[
        bool, typer.Option("--update", metavar="", help="Accept changes in the data.")
    ] = False,
    corrections: CorrectionsFolder = None,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """List the photos, tags, splits and classes of a data folder."""
    from tag2mask.steps import prepare as step

    on_first_process_only()
    settings = load_chosen_recipe(
        step_recipe(recipe, out), overrides, skip_bad=skip_bad, source=source
    )
    with redo_step(PreparedData, out, redo, yes):
        made = step.prepare(data, settings.prepare, out, update=update, corrections=corrections)
    finish_step(made)


def infer_cam(
    data: Prepared,
    model: Annotated[Path, typer.Option(help="Folder written by `train-cam`.")],
    out: Out,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    tags: Annotated[
        TagChoice | None,
        typer.Option(
            help="Tags to compute maps of: the known ones, predicted ones for untagged photos, or "
            "predicted ones for all photos."
        ),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
    allow_modules: AllowModules = False,
) -> None:
    """Compute the class activation maps of all photos."""
    from tag2mask.steps import infer_cam as step
    from tag2mask.steps.train_cam import model_modules

    chosen = [] if tags is None else [f"infer_cam.tags={tags.value}"]
    settings = load_chosen_recipe(
        step_recipe(recipe, out, data),
        [*(overrides or ()), *chosen],
        skip_bad=skip_bad,
        allow_modules=allow_modules,
    )
    connect(settings)
    prepared, trained = PreparedData.open(data), CamModel.open(model)
    runtime = start_runtime(settings, out, prepared)
    named = settings.train_cam.modules().values()
    modules = [*named, *(model_modules(trained.file) if allow_modules else ())]
    with redo_step(CamMaps, out, redo, yes, runtime):
        made = step.infer_cam(prepared, trained, settings.infer_cam, out, runtime, modules=modules)
    finish_step(made)


def affinity_labels(
    data: Prepared,
    maps: Maps,
    out: Out,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Label the sure pixels of the training photos for AffinityNet."""
    from tag2mask.steps import affinity_labels as step

    settings = load_chosen_recipe(step_recipe(recipe, out, data), overrides, skip_bad=skip_bad)
    connect(settings)
    prepared, found = PreparedData.open(data), open_maps(maps)
    runtime = start_runtime(settings, out, prepared)
    with redo_step(AffinityLabels, out, redo, yes, runtime):
        made = step.affinity_labels(prepared, found, settings.affinity_labels, out, runtime)
    finish_step(made)


def walk(
    data: Prepared,
    maps: Annotated[Path, typer.Option("--maps", help="Folder written by `infer-cam`.")],
    model: Annotated[
        Path,
        typer.Option(
            help="Folder written by `train-affinity`; with walk.affinity=attention, by `train-cam`."
        ),
    ],
    out: Out,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Refine the maps by a random walk along the affinities."""
    from tag2mask.steps import walk as step

    settings = load_chosen_recipe(step_recipe(recipe, out, data), overrides, skip_bad=skip_bad)
    connect(settings)
    prepared, found = PreparedData.open(data), open_maps(maps)
    trained = walk_model(settings.walk.affinity).open(model)
    runtime = start_runtime(settings, out, prepared)
    with redo_step(WalkedMaps, out, redo, yes, runtime):
        made = step.walk(prepared, found, trained, settings.walk, out, runtime)
    finish_step(made)


def pseudo_masks(
    data: Prepared,
    maps: Maps,
    out: Out,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Turn maps into pseudo masks (palette PNGs)."""
    from tag2mask.steps import pseudo_masks as step

    settings = load_chosen_recipe(step_recipe(recipe, out, data), overrides, skip_bad=skip_bad)
    connect(settings)
    prepared, found = PreparedData.open(data), open_maps(maps)
    runtime = start_runtime(settings, out, prepared)
    with redo_step(PseudoMaskFolder, out, redo, yes, runtime):
        made = step.pseudo_masks(prepared, found, settings.pseudo_masks, out, runtime)
    finish_step(made)


def evaluate(
    data: Prepared,
    masks: Annotated[
        Path, typer.Option(help="Folder written by `pseudo-masks` or `masks import`.")
    ],
    out: Out,
    maps: Annotated[
        Path | None,
        typer.Option(
            "--maps",
            help="Folder written by `infer-cam` or `walk`; without it, only masks are scored.",
        ),
    ] = None,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    calibrate: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Calibrate the background threshold on N training photos with masks first, and "
            "write the masks in --masks again with it.",
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            "--earlier", help="Folder of maps from before the walk, to score too; repeatable."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help="Folder written by `predict` for these photos, to score too."
        ),
    ] = None,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Score maps, masks and predicted tags."""
    from tag2mask.steps import evaluate as step

    chosen = (
        []
        if calibrate is None
        else [
            "pseudo_masks.threshold_from=calibrated",
            f"pseudo_masks.calibrate_photos={calibrate}",
        ]
    )
    settings = load_chosen_recipe(step_recipe(recipe, out, data), [*(overrides or ()), *chosen])
    if maps is None and (calibrate is not None or earlier):
        raise DataError(
            "without --maps, no threshold is calibrated and no earlier maps are scored",
            where="--calibrate" if calibrate is not None else "--earlier",
            fix="Give --maps, or leave it out.",
        )
    connect(settings)
    prepared = PreparedData.open(data)
    runtime = start_runtime(settings, out, prepared)
    found = None if maps is None else open_maps(maps)
    if calibrate is not None and found is not None:
        from tag2mask.artifacts.identity import folder_status
        from tag2mask.maps.mapped_photos import mapped_photos
        from tag2mask.maps.threshold_sources import calibrated_threshold
        from tag2mask.steps.pseudo_masks import pseudo_masks as make_masks

        differs = bool(folder_status(PseudoMaskFolder, masks, settings.pseudo_masks).settings)
        if differs:  # before the old masks are deleted: there may be no photo to calibrate on
            calibrated_threshold(prepared, mapped_photos(prepared, found), calibrate, runtime)
        with redo_step(PseudoMaskFolder, masks, differs, True, runtime):
            make_masks(prepared, found, settings.pseudo_masks, masks, runtime)
        redo = redo or differs
    scored = PseudoMaskFolder.open(masks)
    before = [open_maps(folder) for folder in earlier or ()]
    predicted = None if predictions is None else Predictions.open(predictions)
    with redo_step(Evaluation, out, redo, yes, runtime):
        made = step.evaluate(
            prepared, found, scored, settings.evaluate, out, runtime, before, predicted
        )
    finish_step(made)


def report(
    run: Annotated[Path, typer.Option("--run", help="Run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; default: RUN/report.")
    ] = None,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    compare: Compare = None,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Write the HTML report of a run."""
    from tag2mask.steps import report as step

    on_first_process_only()
    settings = load_chosen_recipe(recipe or run_recipe_or_default(run), overrides)
    folder = out or run / ReportPage.step
    with redo_step(ReportPage, folder, redo, yes):
        made = step.report(run, settings.report, folder, compare or ())
    finish_step(made)
