"""The commands ``predict`` and ``export``, which use a trained segmentation network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.artifacts.handles import Export, Predictions
from tag2mask.cli.options import (
    DEFAULT_RECIPE,
    Out,
    Overrides,
    Redo,
    Yes,
    delete_for_redo,
    finish_step,
    is_first_process,
    load_chosen_recipe,
    run_recipe_or_default,
    start_runtime,
)

if TYPE_CHECKING:
    from tag2mask.runtime.ranks import Ranks
    from tag2mask.segmentation.inference.segmenter import Segmenter

_NETWORK = "Run folder, folder written by `train-segmenter` or `export`, or file of a network."
_TRAINED = "Run folder, folder written by `train-segmenter`, or file of a network."
Network = Annotated[Path, typer.Option("--model", help=_NETWORK)]


def predict(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTOS...", help="Files, folders or quoted patterns.")
    ],
    model: Network,
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Shipped recipe or YAML file; default: the settings of --model's run or export.",
        ),
    ] = None,
    overrides: Overrides = None,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Predict masks of photos with a trained network; needs no tags."""
    from tag2mask.artifacts.files import digest
    from tag2mask.cli.console import show_understood
    from tag2mask.data.photo_files import list_photos
    from tag2mask.data.understood import understood_photos
    from tag2mask.runtime.ranks import OneProcess
    from tag2mask.segmentation.loading import (
        is_onnx,
        open_onnx,
        open_segmenter,
        segmenter_file,
    )
    from tag2mask.steps import predict as step

    settings = load_chosen_recipe(recipe or run_recipe_or_default(model), overrides)
    skipped: list[str] = []
    file = segmenter_file(model)
    found = list_photos(photos, leave_out=out, skipped=skipped)
    ranks: Ranks = OneProcess()
    segmenter: Segmenter
    if is_onnx(file):
        segmenter = exported = open_onnx(
            file,
            device=settings.runtime.device,
            precision=settings.predict.precision,
            threads=settings.runtime.threads,
        )
        if recipe is None:
            recorded = exported.spec.predict.settings()
            own = [f"predict.{key}={json.dumps(value)}" for key, value in recorded.items()]
            settings = load_chosen_recipe(DEFAULT_RECIPE, [*own, *(overrides or ())])
    else:
        ranks = runtime = start_runtime(settings)
        segmenter = open_segmenter(
            file, device=str(runtime.device), precision=settings.predict.precision
        )
    delete_for_redo(Predictions, out, redo, yes, ranks)
    if is_first_process():
        names = segmenter.classes.names
        show_understood(understood_photos(found, skipped, file, names, out / "masks"))
    finish_step(
        step.predict(found, segmenter, settings.predict, out, model=digest(file), ranks=ranks)
    )


def export(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help=_TRAINED)],
    out: Out,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format: onnx, torch (for torch.export) or onnx,torch; default: both."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Shipped recipe or YAML file; default: that of the run."),
    ] = None,
    overrides: Overrides = None,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Export a trained network as ONNX and for torch.export, with a model card."""
    from tag2mask.segmentation.inference.export_spec import FORMATS, ONNX_FORMAT

    wanted = list(FORMATS) if formats is None else formats.split(",")
    if unknown := set(wanted) - set(FORMATS):
        raise typer.BadParameter(
            f"no format {min(unknown)!r}; there are {' and '.join(FORMATS)}", param_hint="--format"
        )
    from tag2mask.segmentation.export import require_onnx
    from tag2mask.segmentation.loading import trained_file
    from tag2mask.steps import export as step

    settings = load_chosen_recipe(recipe or run_recipe_or_default(model), overrides)
    trained_file(model)  # check it before an earlier export is deleted
    if ONNX_FORMAT in wanted:
        require_onnx()
    delete_for_redo(Export, out, redo, yes)
    finish_step(step.export(model, wanted, out, settings.predict))
