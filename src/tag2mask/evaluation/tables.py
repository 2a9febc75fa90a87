"""``evaluation.json`` as Markdown tables, aligned for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.artifacts.handles import PseudoMaskFolder
from tag2mask.evaluation.records import EvaluationScores, MaskScores, PhotoRates, SplitScores
from tag2mask.evaluation.wording import (
    mask_name,
    percent,
    percent_with_interval,
    rate_text,
    threshold_text,
    thresholds_text,
)
from tag2mask.text.escaping import markdown_text

_DIGITS = 2


def format_scores(scores: EvaluationScores) -> str:
    """Return a table of all splits, then tables of each split's stages, classes and tags."""
    parts = [_overview(scores)]
    parts += [_stage_table(split) for split in scores.splits if len(split.stages) > 1]
    for split in scores.splits:
        if split.masks is not None:
            parts.append(class_table(split.split, split.masks))
        if split.rates is not None:
            parts.append(rates_table(split.split, split.rates))
        if split.tags is not None:
            parts.append(_tag_table(split))
    return "\n\n".join(parts) + "\n"


def _overview(scores: EvaluationScores) -> str:
    rows = []
    mask = mask_name(scores.masks_made_by or PseudoMaskFolder.step)
    for split in scores.splits:
        masks, curve, tags, fitted = split.masks, split.curve, split.tags, split.cross_fitted
        facts = {
            "split": split.split,
            "photos": f"{split.photos}" if masks is None else f"{masks.photos} of {split.photos}",
            "tags": split.tag_source,
            "background threshold": thresholds_text(split),
            "mIoU": percent_with_interval(
                getattr(masks, "miou", None), getattr(masks, "miou_interval", None), _DIGITS
            ),
            "mIoU, cross-fitted": "–"
            if fitted is None
            else percent_with_interval(fitted.masks.miou, fitted.masks.miou_interval, _DIGITS),
            "best possible": "–"
            if curve is None
            else f"{percent(curve.best_miou, _DIGITS)} at {curve.best_threshold:g}",
            "boundary IoU": percent(getattr(masks, "boundary_miou", None), _DIGITS),
            "precision": percent(getattr(masks, "precision", None), _DIGITS),
            "recall": percent(getattr(masks, "recall", None), _DIGITS),
            "pixel accuracy": percent(getattr(masks, "pixel_accuracy", None), _DIGITS),
            "tag mAP": percent(getattr(tags, "mean_average_precision", None), _DIGITS),
            "tag F1": percent(getattr(tags, "mean_f1", None), _DIGITS),
            f"network and {mask} agree": percent(split.evidence.get("agreement"), _DIGITS),
            "map certainty": percent(split.evidence.get("certainty"), _DIGITS),
        }
        if not any(other.cross_fitted for other in scores.splits):
            del facts["mIoU, cross-fitted"]
        if any(other.left_out for other in scores.splits):
            facts["photos left out"] = str(split.left_out)
        rows.append(facts)
    # One row per score and one column per split, to fit into a terminal.
    columns = [("%", *(row["split"] for row in rows))]
    columns += [(key, *(row[key] for row in rows)) for key in rows[0] if key != "split"]
    return markdown_table(columns[0], columns[1:])


def _stage_table(split: SplitScores) -> str:
    first = split.stages[0]
    head = (
        f"stages of {split.split}, {first.photos} photos, {first.tag_source} tags, %",
        "mIoU",
        "precision",
        "recall",
        "background threshold",
        "best possible",
    )
    rows = []
    for stage in split.stages:
        used, best = stage.used, stage.best
        rows.append(
            (
                stage.name,
                percent_with_interval(
                    getattr(used, "miou", None), getattr(used, "miou_interval", None), _DIGITS
                ),
                *(percent(getattr(used, name, None), _DIGITS) for name in ("precision", "recall")),
                "–"
                if used is None
                else threshold_text(used.background_threshold, used.background_source),
                "–"
                if best is None
                else f"{percent(best.miou, _DIGITS)} at {best.background_threshold:g}",
            )
        )
    return markdown_table(head, rows)


def class_table(name: str, masks: MaskScores) -> str:
    """Return the scores of masks by class; ``name`` is that of the split or of the masks."""
    head = (
        f"{name}, {masks.photos} photos, %",
        "IoU",
        "precision",
        "recall",
        "false positives",
        "false negatives",
        "boundary IoU",
    )
    return markdown_table(
        head,
        [
            (
                c.name,
                *(
                    percent_with_interval(share, interval, _DIGITS)
                    for share, interval in (
                        (c.iou, c.iou_interval),
                        (c.precision, c.precision_interval),
                        (c.recall, c.recall_interval),
                    )
                ),
                *(
                    percent(share, _DIGITS)
                    for share in (
                        c.false_positive_share,
                        c.false_negative_share,
                        c.boundary_iou,
                    )
                ),
            )
            for c in masks.classes
        ],
    )


def _tag_table(split: SplitScores) -> str:
    assert split.tags is not None
    head = (
        f"tags of {split.split}, {split.tags.photos} photos, %",
        "photos",
        "AP",
        "precision",
        "recall",
        "F1",
    )
    return markdown_table(
        head,
        [
            (
                c.name,
                str(c.photos),
                *(
                    percent(share, _DIGITS)
                    for share in (c.average_precision, c.precision, c.recall, c.f1)
                ),
            )
            for c in split.tags.classes
        ],
    )


def rates_table(split: str, rates: PhotoRates) -> str:
    """Return the missed photos and false alarms of the network, by class."""
    head = (
        f"network against the tags of {split}, {rates.photos} photos, %",
        "missed",
        "of photos with the tag",
        "false alarms",
        "of photos without",
    )
    return markdown_table(
        head,
        [
            (
                c.name,
                rate_text(c.missed, c.tagged, c.missed_interval, 1),
                f"{c.missed} of {c.tagged}",
                rate_text(c.false_alarms, c.untagged, c.false_alarm_interval, 1),
                f"{c.false_alarms} of {c.untagged}",
            )
            for c in rates.classes
        ],
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column left-aligned, the others right-aligned.

    Args:
        head: names of the columns.
        rows: cells of each row, as many as ``head`` has; they are escaped unless they are
            `Markdown`.
    """
    cells = [[markdown_text(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    rule = "|".join(
        "-" * (width + 1) + ":" if i else ":" + "-" * (width + 1) for i, width in enumerate(widths)
    )
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])
