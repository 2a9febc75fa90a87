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
    confirm_deletion,
    connect,
    finish_step,
    load_chosen_recipe,
    on_first_process_only,
    redo_step,
    run_recipe_or_default,
    start_runtime,
)
from tag2mask.files.lock import folder_lock
from tag2mask.files.replacement import replaced_folder
from tag2mask.runtime.launcher import find_launch, is_first_process

if TYPE_CHECKING:
    from tag2mask.runtime.ranks import Ranks
    from tag2mask.runtime.session import Runtime
    from tag2mask.segmentation.inference.segmenter import Segmenter

_NETWORK = "Run folder, folder written by `train-segmenter` or `export`, or file of a network."
_TRAINED = "Run folder, folder written by `train-segmenter`, or file of a network."
Network = Annotated[Path, typer.Option("--model", help=_NETWORK)]


def predict(
    model: Network,
    out: Out,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTOS...",
            help="Files, folders or quoted patterns; or their addresses (https://, s3://, gs://).",
        ),
    ] = None,
    lists: Annotated[
        list[Path] | None,
        typer.Option(
            "--list", metavar="FILE", help="Text file with one of PHOTOS per line; repeatable."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Shipped recipe or YAML file; default: the settings of --model's run or export.",
        ),
    ] = None,
    overrides: Overrides = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", metavar="", help="Label photos as they arrive in the folders, until SIGTERM."
        ),
    ] = False,
    every: Annotated[
        float,
        typer.Option("--every", min=0.05, help="Seconds between two looks at the watched folders."),
    ] = 2.0,
    decisions: Annotated[
        bool,
        typer.Option(
            "--decisions",
            metavar="",
            help="Also write which classes each photo shows, by the rule of `export --miss-rate`.",
        ),
    ] = False,
    redo: Redo = False,
    yes: Yes = False,
) -> None:
    """Predict masks of photos with a trained network; needs no tags."""
    from tag2mask.cli.console import show_left_out, show_understood
    from tag2mask.cli.interrupts import stop_on_terminate
    from tag2mask.data.checks.understood import understood_photos
    from tag2mask.data.remote.addresses import is_remote
    from tag2mask.data.remote.listing import list_given_photos, read_photo_list
    from tag2mask.files.digests import digest
    from tag2mask.runtime.ranks import OneProcess
    from tag2mask.segmentation.loading import (
        is_onnx,
        open_onnx,
        open_segmenter,
        segmenter_file,
    )
    from tag2mask.steps import predict as step
    from tag2mask.steps.photo_loops.watch import watch as watch_folders

    settings = load_chosen_recipe(recipe or run_recipe_or_default(model), overrides)
    connect(settings)
    skipped: list[str] = []
    file = segmenter_file(model)
    given = [*(photos or ()), *(line for file in lists or () for line in read_photo_list(file))]
    if not given:
        raise typer.BadParameter("name photos, folders, patterns or a --list", param_hint="PHOTOS")
    if watch and any(map(is_remote, given)):
        raise typer.BadParameter("folders on this computer only", param_hint="--watch")
    found = [] if watch else list_given_photos(given, leave_out=out, skipped=skipped)
    ranks: Ranks = OneProcess()
    runtime: Runtime | None = None
    segmenter: Segmenter
    rule = None
    if find_launch() is not None or (settings.runtime.devices > 1 and not is_onnx(file)):
        if watch:
            raise typer.BadParameter("one device at most (runtime.devices)", param_hint="--watch")
        ranks = runtime = start_runtime(settings, out)
    if is_onnx(file):
        segmenter = exported = open_onnx(
            file,
            device=settings.runtime.device,
            precision=settings.predict.precision,
            threads=settings.runtime.threads,
        )
        rule = exported.spec.decisions
        if recipe is None:
            recorded = exported.spec.predict.settings()
            own = [f"predict.{key}={json.dumps(value)}" for key, value in recorded.items()]
            settings = load_chosen_recipe(DEFAULT_RECIPE, [*own, *(overrides or ())])
    elif runtime is None:
        from tag2mask.runtime.torch_threads import set_up_torch

        set_up_torch(settings.runtime.threads)
        segmenter = open_segmenter(
            file, device=settings.runtime.device, precision=settings.predict.precision
        )
    else:
        segmenter = open_segmenter(
            file, device=str(runtime.device), precision=settings.predict.precision
        )
    table = step.decision_table(out, segmenter.classes, rule, file) if decisions else None
    if not watch and is_first_process():
        names = segmenter.classes.names
        show_understood(understood_photos(found, skipped, file, names, out / "masks"))
    with redo_step(Predictions, out, redo, yes, ranks):
        if watch:
            made = watch_folders(
                given,
                segmenter,
                settings.predict,
                out,
                model=digest(file),
                stop=stop_on_terminate(),
                seconds=every,
                decisions=table,
                on_skipped=show_left_out,
            )
        else:
            made = step.predict(
                found,
                segmenter,
                settings.predict,
                out,
                model=digest(file),
                ranks=ranks,
                decisions=table,
            )
    finish_step(made)


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
    miss_rate: Annotated[
        list[str] | None,
        typer.Option(
            "--miss-rate",
            metavar="[CLASS=]RATE",
            help="Also choose a rule on the validation photos that decides which classes a photo "
            "shows and misses at most this share; CLASS=none: no decision; repeatable.",
        ),
    ] = None,
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
    from tag2mask.steps.decision_rule import parse_miss_rates

    on_first_process_only()
    settings = load_chosen_recipe(recipe or run_recipe_or_default(model), overrides)
    rates = parse_miss_rates(miss_rate or ())
    trained_file(model)  # check it before the question about an earlier export
    if ONNX_FORMAT in wanted:
        require_onnx()
    if not (redo and out.exists()):
        finish_step(step.export(model, wanted, out, settings.predict, rates))
        return
    confirm_deletion([(Export, out)], yes)
    with folder_lock(out), replaced_folder(out) as new:
        step.export(model, wanted, new, settings.predict, rates)
    finish_step(Export.open(out))
