"""The commands of the single steps: folders of earlier steps in, one folder out.

Each opens its handles, takes its section of the recipe and calls the step's function; stages are
imported inside, so that ``--help`` needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Evaluation,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
    Tuning,
    WalkedMaps,
    open_maps,
)
from tag2mask.artifacts.identity import folder_status
from tag2mask.cli.console import show_tuning
from tag2mask.cli.options import (
    DEFAULT_RECIPE,
    Compare,
    DataFolder,
    Maps,
    Out,
    Overrides,
    Prepared,
    RecipeName,
    Redo,
    SkipBad,
    Source,
    TagChoice,
    chosen_recipe,
    clear,
    done,
    is_first_process,
    own_recipe,
    start_runtime,
)


def prepare(
    data: DataFolder,
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    source: Source = None,
    skip_bad: SkipBad = False,
    update: Annotated[bool, typer.Option("--update", help="Take in what changed.")] = False,
    redo: Redo = False,
) -> None:
    """Read a data folder: which photos, splits, tags and classes."""
    from tag2mask.steps import prepare as stage

    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad, source=source)
    clear(PreparedData, out, redo)
    done(stage.prepare(data, settings.prepare, out, update=update))


def train_cam(
    out: Out,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `prepare` wrote.")
    ] = None,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option("--import", help="Take a trained model (resnet38_SEAM.pth) instead."),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Train the network whose activation maps become masks."""
    from tag2mask.steps import train_cam as stage

    if (data is None) == (import_file is None):
        raise typer.BadParameter("give either --data (to train) or --import (a trained model)")
    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
    if import_file is not None:
        clear(CamModel, out, redo)
        done(stage.import_model(import_file, out))
    if data is not None:
        prepared, runtime = PreparedData.open(data), start_runtime(settings)
        clear(CamModel, out, redo, runtime)
        done(stage.train_cam(prepared, settings.train_cam, out, runtime))


def infer_cam(
    data: Prepared,
    model: Annotated[Path, typer.Option(help="Folder that `train-cam` wrote.")],
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    tags: Annotated[
        TagChoice | None,
        typer.Option(
            help="Maps of the known tags; of predicted ones for photos "
            "without any; of predicted ones for all photos."
        ),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Compute the activation maps of every photo."""
    from tag2mask.steps import infer_cam as stage

    chosen = [] if tags is None else [f"infer_cam.tags={tags.value}"]
    settings = chosen_recipe(recipe, [*(overrides or ()), *chosen], skip_bad=skip_bad)
    prepared, trained = PreparedData.open(data), CamModel.open(model)
    runtime = start_runtime(settings)
    clear(CamMaps, out, redo, runtime)
    done(stage.infer_cam(prepared, trained, settings.infer_cam, out, runtime))


def affinity_labels(
    data: Prepared,
    maps: Maps,
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Find the pixels of the training photos that two dense CRFs agree on."""
    from tag2mask.steps import affinity_labels as stage

    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
    prepared, found, runtime = PreparedData.open(data), open_maps(maps), start_runtime(settings)
    clear(AffinityLabels, out, redo, runtime)
    done(stage.affinity_labels(prepared, found, settings.affinity_labels, out, runtime))


def train_affinity(
    out: Out,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `prepare` wrote.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder that `affinity-labels` wrote.")
    ] = None,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option("--import", help="Take a trained model (resnet38_aff.pth) instead."),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Train the network that tells how alike neighboring pixels are."""
    from tag2mask.steps import train_affinity as stage

    given = {data is not None, labels is not None, import_file is None}
    if len(given) > 1:
        raise typer.BadParameter(
            "give either --data and --labels (to train) or --import (a trained model)"
        )
    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
    if import_file is not None:
        clear(AffinityModel, out, redo)
        done(stage.import_model(import_file, out))
    if data is not None and labels is not None:
        prepared, found = PreparedData.open(data), AffinityLabels.open(labels)
        runtime = start_runtime(settings)
        clear(AffinityModel, out, redo, runtime)
        done(stage.train_affinity(prepared, found, settings.train_affinity, out, runtime))


def walk(
    data: Prepared,
    maps: Annotated[Path, typer.Option("--maps", help="Folder that `infer-cam` wrote.")],
    model: Annotated[Path, typer.Option(help="Folder that `train-affinity` wrote.")],
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Spread the maps of every photo along its affinities."""
    from tag2mask.steps import walk as stage

    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
    prepared, found, trained = PreparedData.open(data), open_maps(maps), AffinityModel.open(model)
    runtime = start_runtime(settings)
    clear(WalkedMaps, out, redo, runtime)
    done(stage.walk(prepared, found, trained, settings.walk, out, runtime))


def tune(
    run: Annotated[Path, typer.Argument(help="Run folder with masked photos.", metavar="RUN")],
    photos: Annotated[
        int | None,
        typer.Option("--photos", min=1, metavar="N", help="Masked training photos to look at."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Default: RUN/tune.")] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="Default: the run's own.")] = None,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Find the walk's best settings and background threshold on a few masked photos."""
    from tag2mask.steps import tune as stage

    chosen = [] if photos is None else [f"tune.photos={photos}"]
    settings = chosen_recipe(
        recipe or own_recipe(run), [*(overrides or ()), *chosen], skip_bad=skip_bad
    )
    prepared, maps = PreparedData.open(run / PreparedData.step), CamMaps.open(run / CamMaps.step)
    model, folder = AffinityModel.open(run / AffinityModel.step), out or run / Tuning.step
    runtime = start_runtime(settings)
    clear(Tuning, folder, redo, runtime)
    found = stage.tune(
        prepared, maps, model, settings.tune, settings.walk, settings.pseudo_masks, folder, runtime
    )
    if is_first_process():
        result = stage.read_tuning(found)
        show_tuning(
            result,
            stage.recipe_values(result.best),
            found.path / stage.PHOTOS,
            crf=settings.pseudo_masks.crf.enabled,
        )
    done(found)


def pseudo_masks(
    data: Prepared,
    maps: Maps,
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Turn maps into masks: palette PNGs."""
    from tag2mask.steps import pseudo_masks as stage

    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
    prepared, found, runtime = PreparedData.open(data), open_maps(maps), start_runtime(settings)
    clear(PseudoMaskFolder, out, redo, runtime)
    done(stage.pseudo_masks(prepared, found, settings.pseudo_masks, out, runtime))


def train_segmenter(
    out: Out,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `prepare` wrote.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="Folder that `pseudo-masks` wrote.")
    ] = None,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    import_file: Annotated[
        Path | None,
        typer.Option("--import", help="Take a trained model instead."),
    ] = None,
    skip_bad: SkipBad = False,
    redo: Redo = False,
) -> None:
    """Train the network that segments photos without tags."""
    from tag2mask.steps import train_segmenter as stage

    settings = chosen_recipe(recipe, overrides, skip_bad=skip_bad)
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
        clear(SegmenterModel, out, redo)
        done(stage.import_model(import_file, out))
    if data is not None:
        prepared = PreparedData.open(data)
        found = None if masks is None else PseudoMaskFolder.open(masks)
        runtime = start_runtime(settings)
        clear(SegmenterModel, out, redo, runtime)
        done(stage.train_segmenter(prepared, found, settings.train_segmenter, out, runtime))


def evaluate(
    data: Prepared,
    maps: Maps,
    masks: Annotated[Path, typer.Option(help="Folder that `pseudo-masks` wrote.")],
    out: Out,
    recipe: RecipeName = DEFAULT_RECIPE,
    overrides: Overrides = None,
    calibrate: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="First choose the background threshold on N masked "
            "training photos, and make the folder of --masks anew with it.",
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option("--earlier", help="Maps from before the walk, to score beside; repeatable."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help="Folder that `predict` wrote of these photos, to score beside."
        ),
    ] = None,
    redo: Redo = False,
) -> None:
    """Say how good maps, masks and tags are."""
    from tag2mask.maps.background_choice import calibrated_score
    from tag2mask.maps.mapped_photos import mapped_photos
    from tag2mask.steps import evaluate as stage
    from tag2mask.steps.pseudo_masks import pseudo_masks as make_masks

    chosen = (
        []
        if calibrate is None
        else [
            "pseudo_masks.threshold_from=calibrated",
            f"pseudo_masks.calibrate_photos={calibrate}",
        ]
    )
    settings = chosen_recipe(recipe, [*(overrides or ()), *chosen])
    prepared, found, runtime = PreparedData.open(data), open_maps(maps), start_runtime(settings)
    if calibrate is not None:
        differs = bool(folder_status(PseudoMaskFolder, masks, settings.pseudo_masks).settings)
        if differs:  # before the old masks are deleted: there may be no photo to calibrate on
            calibrated_score(prepared, mapped_photos(prepared, found), calibrate, runtime)
        clear(PseudoMaskFolder, masks, differs, runtime)
        make_masks(prepared, found, settings.pseudo_masks, masks, runtime)
        redo = redo or differs
    made = PseudoMaskFolder.open(masks)
    before = [open_maps(folder) for folder in earlier or ()]
    predicted = None if predictions is None else Predictions.open(predictions)
    clear(Evaluation, out, redo, runtime)
    done(stage.evaluate(prepared, found, made, settings.evaluate, out, runtime, before, predicted))


def report(
    run: Annotated[Path, typer.Option("--run", help="Run folder to tell of.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: RUN/report.")] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="Default: the run's own.")] = None,
    overrides: Overrides = None,
    compare: Compare = None,
    redo: Redo = False,
) -> None:
    """Write the HTML page of a run."""
    from tag2mask.steps import report as stage

    settings = chosen_recipe(recipe or own_recipe(run), overrides)
    folder = out or run / ReportPage.step
    clear(ReportPage, folder, redo)
    done(stage.report(run, settings.report, folder, compare or ()))
