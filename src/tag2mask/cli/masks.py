"""The commands of ``masks``: masks in the formats of other tools, and how good they are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tag2mask.artifacts.handles import Predictions, PseudoMaskFolder

if TYPE_CHECKING:
    from tag2mask.steps.mask_exchange.score import MaskComparison
    from tag2mask.steps.mask_exchange.sources import MaskSource


class MaskChoice(StrEnum):
    """Which masks of a run."""

    PREDICT = Predictions.step
    PSEUDO_MASKS = PseudoMaskFolder.step


_Of = Annotated[
    MaskChoice | None,
    typer.Option("--of", help="Masks of a run; default: predict where the run has it."),
]
_Classes = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="Class list of PNGs, one name per line."),
]


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
    from tag2mask.steps.mask_exchange.score import (
        comparison_table,
        plot_comparison,
        score_masks,
        write_comparison,
    )
    from tag2mask.steps.mask_exchange.sources import open_masks

    own = open_masks(made, of=None if of is None else of.value, classes=classes)
    truth = open_masks(true, classes=classes, otherwise=own.classes)
    _show_sources(own, truth)
    found = score_masks(own, truth, boundary_share)
    print_text(comparison_table(found))
    _show_unmatched(found)
    if json is not None:
        write_comparison(found, json)
        print_text(f"written: {json}", lines=False)
    if plot is not None:
        plot_comparison(found, plot)
        print_text(f"written: {plot}", lines=False)


def _show_sources(own: MaskSource, truth: MaskSource) -> None:
    from tag2mask.cli.console import print_text

    for name, source in (("masks", own), ("true masks", truth)):
        print_text(f"{name}: {source.folder} ({len(source.masks)})", lines=False)


def _show_unmatched(found: MaskComparison) -> None:
    """Print which masks the other folder lacks."""
    from tag2mask.cli.console import print_message
    from tag2mask.errors import counted, first_few

    for ids, other in ((found.only_made, "true mask"), (found.only_true, "mask to score")):
        if ids:
            count = counted(len(ids), "photo has", "photos have")
            print_message(f"not scored: {count} no {other}: {first_few(ids)}", lines=False)
