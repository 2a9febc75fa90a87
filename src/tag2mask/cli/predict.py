"""The commands that use a trained segmentation network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tag2mask.artifacts.files import digest
from tag2mask.artifacts.handles import Export, Predictions
from tag2mask.cli.options import (
    Out,
    Overrides,
    Redo,
    chosen_recipe,
    clear,
    done,
    own_recipe,
    start_runtime,
)
from tag2mask.runtime.ranks import OneProcess, Ranks
from tag2mask.segmentation.inference.export_spec import FORMATS, ONNX_FORMAT

_NETWORK = "Run folder, folder that `train-segmenter` wrote, or file."
Network = Annotated[Path, typer.Option("--model", help=_NETWORK)]


def predict(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTOS...", help="Files, folders, or patterns (quoted).")
    ],
    model: Network,
    out: Out,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Default: that of the run that --model lies in.")
    ] = None,
    overrides: Overrides = None,
    redo: Redo = False,
) -> None:
    """Make masks of photos with a trained network: no tags needed."""
    from tag2mask.data.photo_files import list_photos
    from tag2mask.segmentation.loading import is_onnx, open_segmenter, segmenter_file
    from tag2mask.steps import predict as stage

    settings = chosen_recipe(recipe or own_recipe(model), overrides)
    file, found = segmenter_file(model), list_photos(photos, leave_out=out)
    ranks: Ranks = OneProcess()
    if is_onnx(file):
        segmenter = open_segmenter(
            file,
            device=settings.runtime.device,
            precision=settings.predict.precision,
            threads=settings.runtime.threads,
        )
    else:
        ranks = runtime = start_runtime(settings)
        segmenter = open_segmenter(
            file, device=str(runtime.device), precision=settings.predict.precision
        )
    clear(Predictions, out, redo, ranks)
    done(stage.predict(found, segmenter, settings.predict, out, model=digest(file), ranks=ranks))


def export(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help=_NETWORK)],
    out: Out,
    formats: Annotated[
        str, typer.Option("--format", help="onnx, torch (torch.export), or both.")
    ] = ",".join(FORMATS),
    redo: Redo = False,
) -> None:
    """Write a trained network as ONNX and for torch.export, with a model card."""
    wanted = formats.split(",")
    if unknown := set(wanted) - set(FORMATS):
        raise typer.BadParameter(
            f"no format {min(unknown)!r}; there are {' and '.join(FORMATS)}", param_hint="--format"
        )
    from tag2mask.segmentation.export import require_onnx
    from tag2mask.segmentation.loading import trained_file
    from tag2mask.steps import export as stage

    trained_file(model)  # what can't be exported costs no earlier export
    if ONNX_FORMAT in wanted:
        require_onnx()
    clear(Export, out, redo)
    done(stage.export(model, wanted, out))
