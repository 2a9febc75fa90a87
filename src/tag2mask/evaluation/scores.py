"""The records of ``evaluation.json``, computed from counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tag2mask.evaluation.records import (
    ClassScores,
    ClassTagScores,
    CurveScores,
    DoubtfulTag,
    MaskScores,
    PointScores,
    TagScores,
)
from tag2mask.metrics.bootstrap import Interval, ResampledTallies, percentile_interval
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion, Float64, mean_of_present
from tag2mask.metrics.tag_scores import TagDoubt, TagQuality
from tag2mask.metrics.threshold_curve import ThresholdCurve


def mask_scores(
    confusion: Confusion,
    boundary: BoundaryCounts | None,
    photos: int,
    names: Sequence[str],
    resampled: ResampledTallies,
    *,
    published: bool,
) -> MaskScores:
    """Return the scores of masks; ``names`` by mask id (C+1); no ``boundary``: not scored."""
    return MaskScores(
        photos=photos,
        miou=none_if_nan(confusion.miou(published=published)),
        boundary_miou=None if boundary is None else none_if_nan(boundary.miou(published=published)),
        pixel_accuracy=none_if_nan(confusion.pixel_accuracy()),
        precision=none_if_nan(mean_of_present(confusion.precision())),
        recall=none_if_nan(mean_of_present(confusion.recall())),
        over_activation=none_if_nan(confusion.over_activation()),
        under_activation=none_if_nan(confusion.under_activation()),
        classes=_class_scores(confusion, boundary, names, resampled, published=published),
        confusion=tuple(tuple(row) for row in confusion.counts.tolist()),
        miou_interval=percentile_interval(resampled.miou(published=published)),
    )


def _class_scores(
    confusion: Confusion,
    boundary: BoundaryCounts | None,
    names: Sequence[str],
    resampled: ResampledTallies,
    *,
    published: bool,
) -> tuple[ClassScores, ...]:
    iou, edges = confusion.iou(published=published), np.full(len(names), np.nan)
    if boundary is not None:
        edges = boundary.iou(published=published)
    precision, recall = confusion.precision(), confusion.recall()
    too_much, too_little = confusion.false_positive_share(), confusion.false_negative_share()
    resamples = (resampled.iou(), resampled.precision(), resampled.recall())
    intervals = [
        tuple(percentile_interval(values[i]) for values in resamples) for i in range(len(names))
    ]
    return tuple(
        ClassScores(
            name,
            none_if_nan(iou[i]),
            none_if_nan(precision[i]),
            none_if_nan(recall[i]),
            none_if_nan(too_much[i]),
            none_if_nan(too_little[i]),
            none_if_nan(edges[i]),
            *intervals[i],
        )
        for i, name in enumerate(names)
    )


def curve_scores(curve: ThresholdCurve, *, published: bool) -> CurveScores:
    """Return mIoU at each background threshold, and the best."""
    best_threshold, best_miou = curve.best(published=published)
    return CurveScores(
        thresholds=tuple(round(float(t), 6) for t in curve.thresholds),
        miou=tuple(none_if_nan(value) for value in curve.miou(published=published)),
        best_threshold=best_threshold,
        best_miou=none_if_nan(best_miou),
    )


def point_scores(
    confusion: Confusion,
    threshold: float | None,
    source: str,
    interval: Interval | None = None,
    *,
    published: bool,
) -> PointScores:
    """Return the scores at one background threshold; ``interval``: of the mIoU."""
    return PointScores(
        background_threshold=threshold,
        background_source=source,
        miou=none_if_nan(confusion.miou(published=published)),
        precision=none_if_nan(mean_of_present(confusion.precision())),
        recall=none_if_nan(mean_of_present(confusion.recall())),
        miou_interval=interval,
    )


def tag_scores(quality: TagQuality, photos: int, names: Sequence[str]) -> TagScores:
    """Return the scores of the tag classifier; ``names`` by tag id (C)."""
    columns: tuple[Float64, ...] = (
        quality.average_precision,
        quality.precision,
        quality.recall,
        quality.f1,
    )
    return TagScores(
        photos=photos,
        mean_average_precision=none_if_nan(quality.mean_average_precision),
        mean_f1=none_if_nan(quality.mean_f1),
        classes=tuple(
            ClassTagScores(
                name, int(quality.photos[c]), *(none_if_nan(column[c]) for column in columns)
            )
            for c, name in enumerate(names)
        ),
    )


def doubtful_tag_records(
    doubts: Sequence[TagDoubt], ids: Sequence[str], names: Sequence[str]
) -> tuple[DoubtfulTag, ...]:
    """Return doubtful tags with photo ids (``ids`` by row) and class names (by tag id)."""
    return tuple(
        DoubtfulTag(ids[d.photo], names[d.tag], d.kind, round(d.probability, 4), round(d.margin, 4))
        for d in doubts
    )


def none_if_nan(value: float) -> float | None:
    """Return a number, or None for NaN."""
    return None if np.isnan(value) else float(value)
