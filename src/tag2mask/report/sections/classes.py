"""Sections about single classes: IoU, confusions and tag scores.

Long tables are folded and the confusion table shows only the classes with the most wrong pixels, so
that the page stays readable with 254 classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tag2mask.evaluation.records import (
    ClassScores,
    EvaluationScores,
    SplitScores,
    TagScores,
)
from tag2mask.evaluation.wording import (
    interval_text,
    percent,
    percent_with_interval,
    with_unit,
)
from tag2mask.metrics.bootstrap import Interval
from tag2mask.report.page import Block, Cell, Column, Note, PageSection, PageTable, difference
from tag2mask.report.sections.scored_runs import (
    MASKS_OF,
    MasksOf,
    ScoredRun,
    class_colors,
    mask_scores_of,
    masks_text,
)

CONFUSION_CLASSES = 21
"""Rows of the confusion table: the classes with the most wrong pixels."""
CONFUSED_PAIRS = 10

_FIGURES = {
    "precision": "precision",
    "recall": "recall",
    "false_positive_share": "spill-over",
    "false_negative_share": "missed",
    "boundary_iou": "boundary",
}


def class_section(runs: Sequence[ScoredRun]) -> PageSection:
    """Return the table of IoU by class, the runs side by side."""
    main = runs[0]
    blocks = (
        []
        if main.scores is None
        else [
            _class_table(runs, main.scores, split, masks_of)
            for split in main.scores.splits
            for masks_of in MASKS_OF
            if mask_scores_of(main, split.split, masks_of) is not None
        ]
    )
    return PageSection(
        "classes",
        "Classes",
        tuple(blocks),
        intro="Intersection over union of each class, best first, with its 95 % interval (how "
        "far it would change with other photos). Spill-over and missed: false positive and false "
        "negative pixels as shares of the union.",
    )


def _class_table(
    runs: Sequence[ScoredRun], scores: EvaluationScores, split: SplitScores, masks_of: MasksOf
) -> PageTable:
    own = mask_scores_of(runs[0], split.split, masks_of)
    assert own is not None
    colors = class_colors(scores)
    classes = list(zip(own.classes, colors, strict=True))
    shown = sorted((c for c in classes if c[0].iou is not None), key=_falling_iou)
    others = [
        (run.label, {c.name: c.iou for c in masks.classes})
        for run in runs[1:]
        if (masks := mask_scores_of(run, split.split, masks_of)) is not None
    ]
    columns = [Column("class", numeric=False), Column("IoU, %", wide=True)]
    for label, _ in others:
        columns += [Column(label), Column("lead")]
    columns += [Column(f"{title}, %") for title in _FIGURES.values()]
    rows = []
    for found, color in shown:
        row: list[str | Cell] = [
            Cell(found.name, swatch=color),
            Cell(percent_with_interval(found.iou, found.iou_interval), bar=found.iou),
        ]
        for _, iou in others:
            other = iou.get(found.name)
            row += [percent(other), difference(found.iou, other)]
        row += [
            Cell(
                percent(getattr(found, name)),
                title=_interval_title(getattr(found, f"{name}_interval", None)),
            )
            for name in _FIGURES
        ]
        rows.append(tuple(row))
    absent = len(classes) - len(shown)
    note = (
        f" {absent} classes occur neither in the ground truth nor in the masks." if absent else ""
    )
    return PageTable(
        tuple(columns), tuple(rows), caption=f"{masks_text(runs[0], split, own, masks_of)}.{note}"
    )


def _interval_title(interval: Interval | None) -> str:
    return f"95 % interval {interval_text(interval)} %" if interval else ""


def _falling_iou(entry: tuple[ClassScores, str]) -> float:
    assert entry[0].iou is not None
    return -entry[0].iou


def confusion_section(runs: Sequence[ScoredRun]) -> PageSection:
    """Return the confusion table and the pairs of classes confused most often.

    Of the network, on the validation photos if they have masks, and of the masks that it learned
    from, on the training photos if they have.
    """
    scores = runs[0].scores
    blocks: list[Block] = []
    for masks_of in MASKS_OF if scores is not None else ():
        assert scores is not None
        scored = [s for s in scores.splits if mask_scores_of(runs[0], s.split, masks_of)]
        if not scored:
            continue
        split = scored[-1 if masks_of == "network" else 0]
        masks = mask_scores_of(runs[0], split.split, masks_of)
        assert masks is not None
        counts = np.array(masks.confusion, np.int64)
        if counts.any():
            basis = masks_text(runs[0], split, masks, masks_of)
            blocks += [_confusion_table(scores, counts, basis), *_pairs(scores, counts)]
    return PageSection(
        "confusions",
        "Confusions",
        tuple(blocks),
        intro="Where the pixels of each class went. Rows are the ground truth, columns "
        "the masks; each row adds up to 100 %.",
    )


def _confusion_table(scores: EvaluationScores, counts: NDArray[np.int64], basis: str) -> PageTable:
    names = scores.classes
    occurs = counts.sum(axis=0) + counts.sum(axis=1)
    wrong = occurs - 2 * np.diagonal(counts)
    ranked = [i for i in np.argsort(-wrong, kind="stable").tolist() if occurs[i] > 0]
    shown = sorted(ranked[:CONFUSION_CLASSES])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for i in shown:
        row: list[str | Cell] = [Cell(names[i], title=names[i])]
        for j in shown:
            share = float(shares[i, j])
            text = f"{100 * share:.0f}" if share >= 0.005 else ""
            # The square root makes small shares visible: most errors are a few percent.
            row.append(
                Cell(
                    text,
                    heat=share**0.5,
                    tone="good" if i == j else "",
                    title=f"{percent(share, 2)} % of {names[i]} labeled {names[j]}",
                )
            )
        rows.append(tuple(row))
    columns = (Column("", numeric=False), *(Column(names[j]) for j in shown))
    hidden = len(ranked) - len(shown)
    note = (
        f" The classes with the most wrong pixels; {hidden} others are left out." if hidden else ""
    )
    return PageTable(
        columns, tuple(rows), caption=f"{basis}.{note}", matrix=True, unfolded=CONFUSION_CLASSES
    )


def _pairs(scores: EvaluationScores, counts: NDArray[np.int64]) -> list[Block]:
    """Return the most frequent confusions of two foreground classes."""
    colors, names = class_colors(scores), scores.classes
    truth = counts.sum(axis=1)
    among = counts.copy()
    np.fill_diagonal(among, 0)
    among[0], among[:, 0] = 0, 0
    rows = []
    for place in np.argsort(-among, axis=None, kind="stable")[:CONFUSED_PAIRS].tolist():
        i, j = divmod(place, len(names))
        if among[i, j] > 0:
            rows.append(
                (
                    Cell(names[i], swatch=colors[i]),
                    Cell(names[j], swatch=colors[j]),
                    percent(float(among[i, j] / truth[i])),
                    f"{among[i, j]:,}",
                )
            )
    if not rows:
        return [Note("No foreground class was labeled as another one.")]
    columns = (
        Column("class", numeric=False),
        Column("labeled as", numeric=False),
        Column("of its pixels, %"),
        Column("pixels"),
    )
    return [
        PageTable(
            columns, tuple(rows), caption="The most frequent confusions of two foreground classes."
        )
    ]


def tag_section(runs: Sequence[ScoredRun]) -> PageSection:
    """Return the scores of the tag classifier."""
    scores = runs[0].scores
    blocks: list[Block] = []
    for split in scores.splits if scores is not None else ():
        if split.tags is not None:
            assert scores is not None
            blocks.append(_tag_table(class_colors(scores), split.split, split.tags))
    return PageSection(
        "tags",
        "Tags",
        tuple(blocks),
        intro="How well the classifier predicts the given tags. The maps of a class that it "
        "predicts poorly are poor too.",
    )


def _tag_table(colors: Sequence[str], split: str, tags: TagScores) -> PageTable:
    classes = list(zip(tags.classes, colors[1:], strict=True))
    shown = [c for c in classes if c[0].average_precision is not None]
    shown.sort(key=lambda c: -(c[0].average_precision or 0.0))
    columns = (
        Column("class", numeric=False),
        Column("average precision, %", wide=True),
        Column("F1, %"),
        Column("precision, %"),
        Column("recall, %"),
        Column("photos"),
    )
    rows = tuple(
        (
            Cell(c.name, swatch=color),
            Cell(percent(c.average_precision), bar=c.average_precision),
            percent(c.f1),
            percent(c.precision),
            percent(c.recall),
            f"{c.photos:,}",
        )
        for c, color in shown
    )
    caption = (
        f"{split}, {tags.photos:,} photos: mAP {with_unit(tags.mean_average_precision)}, "
        f"mean F1 {with_unit(tags.mean_f1)} at probability 0.5."
    )
    return PageTable(columns, rows, caption=caption)
