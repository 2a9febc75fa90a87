"""Commands of the steps that train a network, or import a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamModel,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
)
from tag2mask.artifacts.placement import check_start_outside
from tag2mask.cli.options import (
    AllowModules,
    Out,
    Overrides,
    PreparedOrNone,
    Redo,
    RunRecipe,
    SkipBad,
    Yes,
    connect,
    finish_step,
    load_chosen_recipe,
    on_first_process_only,
    redo_step,
    start_runtime,
    step_recipe,
)


def train_cam(
    out: Out,
    data: PreparedOrNone = None,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Import a trained model (such as resnet38_SEAM.pth) instead of training.",
        ),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
    allow_modules: AllowModules = False,
) -> None:
    """Train the classifier whose class activation maps become masks."""
    from tag2mask.steps import train_cam as step

    if (data is None) == (import_file is None):
        raise typer.BadParameter("give either --data (to train) or --import (a trained model)")
    settings = load_chosen_recipe(
        step_recipe(recipe, out, data), overrides, skip_bad=skip_bad, allow_modules=allow_modules
    )
    if import_file is not None:
        on_first_process_only()
        named = step.model_modules(import_file) if allow_modules else ()
        with redo_step(CamModel, out, redo, yes):
            made = step.import_model(import_file, out, modules=named)
        finish_step(made)
    if data is not None:
        check_start_outside("train_cam.init_from", settings.train_cam.init_from, out)
        connect(settings)
        prepared = PreparedData.open(data)
        runtime = start_runtime(settings, out, prepared)
        with redo_step(CamModel, out, redo, yes, runtime):
            made = step.train_cam(prepared, settings.train_cam, out, runtime)
        finish_step(made)


def train_affinity(
    out: Out,
    data: PreparedOrNone = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder written by `affinity-labels`.")
    ] = None,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Import a trained model (such as resnet38_aff.pth) instead of training.",
        ),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Train AffinityNet to predict affinities of neighboring pixels."""
    from tag2mask.steps import train_affinity as step

    given = {data is not None, labels is not None, import_file is None}
    if len(given) > 1:
        raise typer.BadParameter(
            "give either --data and --labels (to train) or --import (a trained model)"
        )
    settings = load_chosen_recipe(step_recipe(recipe, out, data), overrides, skip_bad=skip_bad)
    if import_file is not None:
        on_first_process_only()
        with redo_step(AffinityModel, out, redo, yes):
            made = step.import_model(import_file, out)
        finish_step(made)
    if data is not None and labels is not None:
        connect(settings)
        prepared, found = PreparedData.open(data), AffinityLabels.open(labels)
        runtime = start_runtime(settings, out, prepared)
        with redo_step(AffinityModel, out, redo, yes, runtime):
            made = step.train_affinity(prepared, found, settings.train_affinity, out, runtime)
        finish_step(made)


def train_segmenter(
    out: Out,
    data: PreparedOrNone = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="Folder written by `pseudo-masks`.")
    ] = None,
    cam: Annotated[
        Path | None,
        typer.Option(
            "--cam",
            help="Folder written by `train-cam`, whose weights the encoder starts from where "
            "`train_segmenter.network.weights` is cam.",
        ),
    ] = None,
    recipe: RunRecipe = None,
    overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option("--import", help="Import a trained model instead of training."),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Train a segmentation network on the pseudo masks."""
    from tag2mask.steps import train_segmenter as step

    settings = load_chosen_recipe(step_recipe(recipe, out, data), overrides, skip_bad=skip_bad)
    supervised = settings.train_segmenter.masks == "ground truth"
    given = {
        data is not None,
        masks is not None or (data is not None and supervised),
        import_file is None,
    }
    if len(given) > 1:
        raise typer.BadParameter(
            "give either --data and --masks (to train) or --import (a trained model)"
        )
    if import_file is not None:
        on_first_process_only()
        with redo_step(SegmenterModel, out, redo, yes):
            made = step.import_model(import_file, out)
        finish_step(made)
    if cam is not None and not settings.train_segmenter.starts_from_cam:
        raise typer.BadParameter(
            "--cam has no effect: train_segmenter.network.weights is "
            f"{settings.train_segmenter.network.weights}; set it to cam"
        )
    if data is not None:
        check_start_outside("train_segmenter.init_from", settings.train_segmenter.init_from, out)
        connect(settings)
        prepared = PreparedData.open(data)
        found = None if masks is None else PseudoMaskFolder.open(masks)
        start = None if cam is None else CamModel.open(cam)
        runtime = start_runtime(settings, out, prepared)
        with redo_step(SegmenterModel, out, redo, yes, runtime):
            made = step.train_segmenter(
                prepared, found, settings.train_segmenter, out, runtime, start
            )
        finish_step(made)
