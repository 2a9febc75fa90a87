"""The commands of ``masks``: masks in the formats of other tools, and how good they are."""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.artifacts.handles import Predictions, PseudoMaskFolder
from tag2mask.cli.options import Out
from tag2mask.steps.mask_exchange.targets import TARGETS, given_options

if TYPE_CHECKING:
    from tag2mask.steps.mask_exchange.export import Exported
    from tag2mask.steps.mask_exchange.score import MaskComparison
    from tag2mask.steps.mask_exchange.sources import MaskSource

    FormatName = str
else:
    FormatName = StrEnum("FormatName", {name: name for name in TARGETS})


class MaskChoice(StrEnum):
    """Which masks of a run."""

    PREDICT = Predictions.step
    PSEUDO_MASKS = PseudoMaskFolder.step


class VoidChoice(StrEnum):
    """What ignored pixels become in an export."""

    BACKGROUND = "background"


class PhotoFilesChoice(StrEnum):
    """What happens to the photos of an export."""

    LINK = "link"
    COPY = "copy"
    NONE = "none"


_Of = Annotated[
    MaskChoice | None,
    typer.Option("--of", help="Masks of a run; default: predict where the run has it."),
]
_Classes = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="Class list of PNGs, one name per line."),
]


def _number(value: float | None) -> float | None:
    """Return a value that can be compared.

    Raises:
        typer.BadParameter: NaN, with which every comparison is false.
    """
    if value is not None and isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


def import_(
    files: Annotated[
        Path, typer.Argument(metavar="FILES", help="File or folder of masks of another tool.")
    ],
    data: Annotated[
        Path, typer.Option("--data", help="Folder written by `prepare`, or a run that has it.")
    ],
    out: Out,
    drawn: Annotated[
        bool, typer.Option("--drawn", metavar="", help="People drew or checked the masks.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="The model that made the masks.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="THEIRS=OURS",
            help="Our class for a label; nothing behind the sign leaves it out; repeatable.",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE", callback=_number, help="Leave out regions with a lower score."
        ),
    ] = None,
    gate_by_tags: Annotated[
        bool,
        typer.Option(
            "--gate-by-tags", metavar="", help="Leave out classes that the photo's tags exclude."
        ),
    ] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="Format of the files; default: recognized."),
    ] = None,
    classes: _Classes = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            "--annotations",
            metavar="FILE",
            help="COCO JSON with the photos and classes of a list of results; repeatable.",
        ),
    ] = None,
) -> None:
    """Make a folder of masks, for train-segmenter and evaluate, from files of other tools.

    Drawn masks for RUN/corrections become corrections.
    """
    from tag2mask.artifacts.handles import PreparedData
    from tag2mask.cli.console import print_message, print_text
    from tag2mask.cli.options import finish_step
    from tag2mask.data.index import read_classes
    from tag2mask.errors import counted
    from tag2mask.steps.mask_exchange.corrections import import_corrections, is_corrections_folder
    from tag2mask.steps.mask_exchange.importing import DRAWN, MODEL, ImportOptions, import_masks
    from tag2mask.steps.mask_exchange.readers import find_mask_files

    if drawn == (model is not None):
        raise typer.BadParameter("give either --drawn or --model NAME: who made the masks")
    inner = data / PreparedData.step
    prepared = PreparedData.open(inner if inner.is_dir() else data)
    found = find_mask_files(
        files,
        read_classes(prepared.path),
        of=form,
        class_file=classes,
        lists=annotations or (),
    )
    print_text(f"masks: {files} ({found.name})", lines=False)
    options = ImportOptions(
        DRAWN if drawn else f"{MODEL}{model}",
        dict(map(_mapped, names or ())),
        min_score,
        gate_by_tags,
    )
    if drawn and is_corrections_folder(out):
        corrected = import_corrections(found, prepared, options, out)
        for message in corrected.warnings:
            print_message(f"warning: {message}", lines=False)
        print_text(f"{out}: {counted(len(corrected.photos), 'photo', 'photos')} corrected")
        return
    finish_step(import_masks(found, prepared, options, out))


def _mapped(text: str) -> tuple[str, str]:
    """Return a label and our class for it.

    Raises:
        typer.BadParameter: there is no sign between them, or no label.
    """
    label, sign, name = (part.strip() for part in text.rpartition("="))
    if not (label and sign):
        raise typer.BadParameter(f"{text!r} is not THEIRS=OURS", param_hint="--map")
    return label, name


def export(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Run, or folder of masks to write.")
    ],
    to: Annotated[FormatName, typer.Option("--to", help="Format to write.")],
    out: Out,
    of: _Of = None,
    photos: Annotated[
        Path | None,
        typer.Option("--photos", metavar="DIR", help="Folder of the photos, if it isn't known."),
    ] = None,
    classes: _Classes = None,
    photo_files: Annotated[
        PhotoFilesChoice, typer.Option("--photo-files", help="Link, copy or leave out the photos.")
    ] = PhotoFilesChoice.LINK,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar="", help="Replace an earlier export.")
    ] = False,
    polygons: Annotated[
        bool, typer.Option("--polygons", metavar="", help="Write polygons, not run lengths.")
    ] = False,
    stuff: Annotated[
        bool, typer.Option("--stuff", metavar="", help="Write one object per class, not per part.")
    ] = False,
    photo_prefix: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What Label Studio puts before the photos' paths."),
    ] = None,
    model_version: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name of the predictions in Label Studio.")
    ] = None,
    void: Annotated[
        VoidChoice | None, typer.Option("--void", help="What ignored pixels become (voc).")
    ] = None,
) -> None:
    """Write masks in the format of another tool, with their photos."""
    from tag2mask.steps.mask_exchange.export import export_masks
    from tag2mask.steps.mask_exchange.sources import open_masks

    target = TARGETS[str(to)]
    options = given_options(
        target,
        {
            "polygons": polygons,
            "stuff": stuff,
            "photo-prefix": photo_prefix,
            "model-version": model_version,
            "void": void and void.value,
        },
    )
    found = open_masks(source, of=of, photos=photos, classes=classes)
    _show_source("masks", found)
    done = export_masks(
        found,
        target,
        out,
        photo_files=photo_files.value,
        overwrite=overwrite,
        options=options,
    )
    _show_export(found, target.name, out, done)


def _show_export(source: MaskSource, name: str, out: Path, done: Exported) -> None:
    """Print what an export has written, and what it left out."""
    from tag2mask.cli.console import print_message, print_text
    from tag2mask.errors import counted, first_few

    if source.without:
        print_message(
            f"no mask, so not exported: {counted(len(source.without), 'photo', 'photos')} "
            f"({first_few(source.without)})",
            lines=False,
        )
    if all(mask.split is None for mask in source.masks):
        print_message("the masks have no splits: all are written as train", lines=False)
    if done.result.left_out_pixels:
        print_message(
            f"left out: {done.result.left_out_pixels} ignored pixels (255), which {name} can't hold"
        )
    for note in done.result.notes:
        print_message(note, lines=False)
    files = [f"{count} {how}" for how, count in done.photo_files.items() if count]
    photos = f", photos {' and '.join(files)}" if files else ", without photos"
    print_text(f"{name}: {out} ({done.result.photos} masks{photos})", lines=False)


def score(
    made: Annotated[Path, typer.Argument(metavar="MADE", help="Run or folder of masks to score.")],
    true: Annotated[Path, typer.Argument(metavar="TRUE", help="Folder of true masks.")],
    classes: _Classes = None,
    of: _Of = None,
    boundary_share: Annotated[
        float,
        typer.Option(
            min=0.0001, max=0.5, help="Band of boundary IoU, as a share of the photo's diagonal."
        ),
    ] = 0.02,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores as JSON.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the scores into a PNG.")
    ] = None,
) -> None:
    """Score masks against true masks: mIoU, precision, recall and boundary IoU by class."""
    from tag2mask.cli.console import print_text
    from tag2mask.files.output_file import check_output_file
    from tag2mask.steps.mask_exchange.score import (
        comparison_table,
        plot_comparison,
        score_masks,
        write_comparison,
    )
    from tag2mask.steps.mask_exchange.sources import open_masks

    for file in (json, plot):
        if file is not None:
            check_output_file(file)
    own = open_masks(made, of=of, classes=classes)
    truth = open_masks(true, classes=classes, otherwise=own.classes)
    _show_source("masks", own)
    _show_source("true masks", truth)
    found = score_masks(own, truth, boundary_share)
    print_text(comparison_table(found))
    _show_unmatched(found)
    if json is not None:
        write_comparison(found, json)
        print_text(f"written: {json}", lines=False)
    if plot is not None:
        plot_comparison(found, plot)
        print_text(f"written: {plot}", lines=False)


def _show_source(name: str, source: MaskSource) -> None:
    """Print a folder of masks and how many it has."""
    from tag2mask.cli.console import print_text

    print_text(f"{name}: {source.folder} ({len(source.masks)})", lines=False)


def _show_unmatched(found: MaskComparison) -> None:
    """Print which masks the other folder lacks."""
    from tag2mask.cli.console import print_message
    from tag2mask.errors import counted, first_few

    for ids, other in ((found.only_made, "true mask"), (found.only_true, "mask to score")):
        if ids:
            count = counted(len(ids), "photo has", "photos have")
            print_message(f"not scored: {count} no {other}: {first_few(ids)}", lines=False)
