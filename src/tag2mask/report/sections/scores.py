"""Sections about the quality of the masks: key numbers, threshold curve."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.evaluation.records import NO_TAGS, MaskScores, SplitScores
from tag2mask.evaluation.wording import (
    basis_text,
    given_masks_text,
    interval_text,
    mask_name,
    measured_text,
    percent,
    photos_text,
    with_unit,
)
from tag2mask.metrics.bootstrap import Interval
from tag2mask.report.curve_plot import curve_series
from tag2mask.report.page import (
    Block,
    Card,
    Cards,
    Cell,
    Column,
    Figures,
    Note,
    PageSection,
    PageTable,
)
from tag2mask.report.plots import line_plot
from tag2mask.report.sections.scored_runs import ScoredRun, split_names
from tag2mask.report.sections.stages import has_stages

_FIGURES = {
    "miou": "mIoU",
    "boundary_miou": "boundary IoU",
    "pixel_accuracy": "pixel accuracy",
    "precision": "precision",
    "recall": "recall",
}
_EVIDENCE_CARDS = {
    "agreement": "mIoU of the network's and the {masks}",
    "walk_agreement": "mIoU of the masks before and after the walk",
}
"""Evidence shown where there are no masks to score."""
_RATIOS = {"over_activation": "over-activation", "under_activation": "under-activation"}


def numbers_section(runs: Sequence[ScoredRun]) -> PageSection:
    """Return the key numbers of the main run."""
    main = runs[0]
    if main.scores is None:
        note = Note("The run is not evaluated yet: there are no numbers.")
        return PageSection("numbers", "Numbers", (note,))
    splits = main.scores.splits
    made_by = main.scores.masks_made_by
    masks_of = mask_name(main.masks_made_by, several=True)
    blocks: list[Block] = [Cards(tuple(_cards(split, masks_of))) for split in splits]
    if made_by is not None:
        what = given_masks_text(made_by)
        blocks.append(Note(f"The run made no masks from tags: it was given {what}."))
    if any(split.masks is not None or split.network is not None for split in splits):
        blocks.append(_figures_table(splits, masks_of))
    else:
        blocks.append(
            Note(
                "No photo has a ground truth mask, so there is no mIoU. The tag scores and "
                "the photos below indicate how good these masks are."
            )
        )
    if main.scores.behavior == "published":
        blocks.append(Note("Scored as published: a class that occurs nowhere counts as IoU 0."))
    return PageSection("numbers", "Numbers", tuple(blocks))


def curve_section(runs: Sequence[ScoredRun]) -> PageSection:
    """Return the threshold curve of each split, all runs in one plot.

    Without blocks for a single run with several stages: `stage_section` plots the same curve.
    """
    if len(runs) == 1 and has_stages(runs[0]):
        return PageSection("background-threshold", "Background threshold", ())
    figures, lines = [], []
    splits = [
        name
        for name in split_names(runs)
        if any((s := run.split(name)) is not None and s.curve is not None for run in runs)
    ]
    for name in splits:
        series = []
        for run in runs:
            split = run.split(name)
            if split is None or split.curve is None or split.masks is None:
                continue
            curve = split.curve
            series.append(curve_series(run.label, curve, split.background_threshold, run.color))
            lines.append(
                f"{run.label} on {photos_text(split, split.masks.photos)}: best "
                f"{with_unit(curve.best_miou)} at {curve.best_threshold:.2f}"
                f"{_in_use(split)}."
            )
        plot = line_plot(
            series,
            x_label="background threshold",
            y_label="mIoU, %",
            size=(680, 300) if len(splits) == 1 else (480, 280),
        )
        figures.append((f"Split {name}" if len(splits) > 1 else "", plot))
    blocks = (
        (
            Figures(
                tuple(figures), legend=tuple(run.label for run in runs), caption="\n".join(lines)
            ),
        )
        if figures
        else ()
    )
    return PageSection(
        "background-threshold",
        "Background threshold",
        blocks,
        intro="The maps' mIoU at each background threshold; a pixel gets the class "
        "with the largest score where that exceeds the threshold. Dots mark the best "
        "threshold, which only ground truth can show, and the one in use.",
    )


def _cards(split: SplitScores, masks_of: str) -> list[Card]:
    cards = []
    if split.network is not None:
        cards.append(
            Card(
                "mIoU of the network",
                with_unit(split.network.miou),
                measured_text(split, split.network.photos, NO_TAGS)
                + _interval(split.network.miou_interval),
            )
        )
    if split.masks is not None:
        cards.append(
            Card(
                f"mIoU of the {masks_of}",
                with_unit(split.masks.miou),
                basis_text(split, split.masks.photos) + _interval(split.masks.miou_interval),
            )
        )
    if split.cross_fitted is not None:
        fitted = split.cross_fitted
        cards.append(
            Card(
                "mIoU of the pseudo masks, cross-fitted",
                with_unit(fitted.masks.miou),
                f"{photos_text(split, fitted.masks.photos)}; {fitted.photos} of them calibrated "
                "the threshold and are scored at the one that is best for the other half, "
                f"{' or '.join(f'{t:.2f}' for t in fitted.thresholds)}"
                + _interval(fitted.masks.miou_interval),
            )
        )
    if split.masks is not None and split.curve is not None:
        cards.append(
            Card(
                "mIoU of the maps at the best threshold",
                with_unit(split.curve.best_miou),
                f"{photos_text(split, split.masks.photos)}, background threshold "
                f"{split.curve.best_threshold:.3g} (best of the curve, chosen with "
                "the same masks)",
            )
        )
    if split.tags is not None:
        cards.append(
            Card(
                "mAP of the tags",
                with_unit(split.tags.mean_average_precision),
                f"{split.split}, {split.tags.photos:,} photos, against the known tags; "
                f"mean F1 {with_unit(split.tags.mean_f1)} at probability 0.5",
            )
        )
    for kind, title in _EVIDENCE_CARDS.items():
        if kind in split.evidence and split.masks is None:
            cards.append(
                Card(
                    title.format(masks=masks_of),
                    with_unit(split.evidence[kind]),
                    photos_text(split, split.photos),
                )
            )
    return cards


def _interval(interval: Interval | None) -> str:
    """Return the end of a card's detail."""
    return f"; 95 % interval {interval_text(interval)}" if interval else ""


def _figures_table(splits: Sequence[SplitScores], masks_of: str) -> PageTable:
    columns = (
        Column("measured on", numeric=False, wide=True),
        *(Column(f"{title}, %") for title in _FIGURES.values()),
        *(Column(title) for title in _RATIOS.values()),
    )
    rows: list[tuple[str | Cell, ...]] = []
    for split in splits:
        if split.masks is not None:
            text = f"{masks_of}: {basis_text(split, split.masks.photos)}"
            rows.append(_figures_row(text, split.masks))
        if split.network is not None:
            text = f"network: {measured_text(split, split.network.photos, NO_TAGS)}"
            rows.append(_figures_row(text, split.network))
    return PageTable(
        columns,
        tuple(rows),
        caption="Precision and recall: means over the classes. "
        "Over- and under-activation: mean of false positive and of false negative pixels "
        "per true positive pixel over the foreground classes; less is better.",
    )


def _figures_row(text: str, masks: MaskScores) -> tuple[str, ...]:
    ratios = (getattr(masks, name) for name in _RATIOS)
    return (
        text,
        *(percent(getattr(masks, name)) for name in _FIGURES),
        *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    )


def _in_use(split: SplitScores) -> str:
    threshold = split.background_threshold
    return "" if threshold is None else f", in use {threshold:.2f} ({split.background_source})"
