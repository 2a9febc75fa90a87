"""What ``evaluation.json`` holds.

One frozen record a thing; shares and IoU are in [0, 1]; a value that doesn't exist (an absent
class, no masks) is None. Beside every number stand split, photos, tag source, background threshold
and its source: no figure leaves here without them. docs/reference/steps/evaluate.md describes
each field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tag2mask.errors import RunFolderError
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion, Float64, mean_of_present
from tag2mask.metrics.tag_scores import TagDoubt, TagQuality
from tag2mask.metrics.threshold_curve import ThresholdCurve

MAPS_BY_HEAD = {
    "cam": {"refined": "SEAM", "plain": "CAM"},
    "mdc": {"refined": "MDC + PCM", "plain": "MDC"},
}
"""What maps are called by the head and the branch of the network that drew them."""
WALK, CRF = "walk", "CRF"
"""What may have been done to them since."""
SEGMENTER = "segmenter"
"""The segmentation network's own masks, which need no tags and no background threshold."""
NO_TAGS, NO_SCORE = "no", "argmax"
"""Its tag source, and what stands in the place of a background threshold's source."""


@dataclass(frozen=True)
class ClassScores:
    """One class of the pseudo masks, background first."""

    name: str
    iou: float | None
    precision: float | None
    recall: float | None
    false_positive_share: float | None
    false_negative_share: float | None
    boundary_iou: float | None


@dataclass(frozen=True)
class MaskScores:
    """Pseudo masks against the masks of ``photos`` photos.

    Attributes:
        precision, recall: means over the classes that have one.
        over_activation, under_activation: mean FP / TP and FN / TP over foreground classes.
        confusion: pixels by true class (rows) and predicted class, (C+1, C+1).
    """

    photos: int
    miou: float | None
    boundary_miou: float | None
    pixel_accuracy: float | None
    precision: float | None
    recall: float | None
    over_activation: float | None
    under_activation: float | None
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CurveScores:
    """mIoU of the maps at each background threshold; the best of them was chosen with the masks."""

    thresholds: tuple[float, ...]
    miou: tuple[float | None, ...]
    best_threshold: float
    best_miou: float | None


@dataclass(frozen=True)
class PointScores:
    """Labels at one background threshold.

    Attributes:
        background_threshold: None: the masks don't say.
        background_source: as in `SplitScores`; ``best``: the best of the curve, chosen with the
            very masks that it is measured on.
        precision, recall: means over the classes that have one.
    """

    background_threshold: float | None
    background_source: str
    miou: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class StageScores:
    """One stage on the way from activation maps to masks, against the masks of ``photos`` photos.

    Attributes:
        name: what was done so far, such as ``SEAM + walk``.
        tag_source: of its maps.
        used: at the background threshold in use; None where there is no threshold.
        best: None where a background threshold can no longer be chosen, after a dense CRF.
        curve: likewise.
        boundary_miou: of masks; None of maps.
    """

    name: str
    photos: int
    tag_source: str
    used: PointScores | None
    best: PointScores | None
    curve: CurveScores | None
    boundary_miou: float | None = None


@dataclass(frozen=True)
class ClassTagScores:
    """The tag classifier on one foreground class."""

    name: str
    photos: int
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class TagScores:
    """The tag classifier against the known tags of ``photos`` photos, at probability 0.5."""

    photos: int
    mean_average_precision: float | None
    mean_f1: float | None
    classes: tuple[ClassTagScores, ...]


@dataclass(frozen=True)
class DoubtfulTag:
    """A tag that the classifier contradicts; see `tag_metrics.doubtful_tags`."""

    photo: str
    tag: str
    kind: Literal["missing", "wrong"]
    probability: float
    margin: float


@dataclass(frozen=True)
class SplitScores:
    """Everything known of one split.

    Attributes:
        photos: photos with maps.
        background_threshold: which the pseudo masks were made with; None: the masks don't say.
        background_source: ``fixed``, ``calibrated``, ``estimated`` or ``walk``; ``unknown``.
        certainty: mean over photos of `CamMap.certainty`.
        masks, curve: None where no photo of the split has a mask.
        tags: None where no photo of the split has a tag.
        stages: from the earliest maps to the masks; none without masks.
        left_out: photos with maps that were to be left out, and are in no number.
    """

    split: str
    photos: int
    tag_source: str
    background_threshold: float | None
    background_source: str
    certainty: float | None
    masks: MaskScores | None
    curve: CurveScores | None
    tags: TagScores | None
    doubtful_tags: tuple[DoubtfulTag, ...]
    stages: tuple[StageScores, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class EvaluationScores:
    """The whole of ``evaluation.json``.

    Attributes:
        classes: names by mask id, ``background`` first (C+1).
        behavior: ``published``: a class that occurs nowhere counts as IoU 0.
    """

    classes: tuple[str, ...]
    behavior: Literal["default", "published"]
    splits: tuple[SplitScores, ...]


def maps_name(metrics: Mapping[str, Any]) -> str | None:
    """What the maps of an ``infer-cam`` with these metrics are called; None: they don't say."""
    branches = MAPS_BY_HEAD.get(str(metrics.get("head", "cam")), {})
    return branches.get(str(metrics.get("branch")))


def scores_from_json(values: Any, *, where: str) -> EvaluationScores:
    """Read the content of an ``evaluation.json``.

    Raises:
        RunFolderError: it is not one, or of another version.
    """
    try:
        return TypeAdapter(EvaluationScores).validate_python(values)
    except ValidationError as error:
        raise RunFolderError(
            f"not an evaluation.json of this version ({error.error_count()} problems)",
            where=where,
            fix="Delete its folder and run `tag2mask evaluate` again.",
        ) from None


def mask_scores(
    confusion: Confusion,
    boundary: BoundaryCounts,
    photos: int,
    names: Sequence[str],
    *,
    published: bool,
) -> MaskScores:
    """Put counts of pseudo masks into a record; ``names`` by mask id (C+1)."""
    columns = (
        confusion.iou(published=published),
        confusion.precision(),
        confusion.recall(),
        confusion.false_positive_share(),
        confusion.false_negative_share(),
        boundary.iou(published=published),
    )
    return MaskScores(
        photos=photos,
        miou=known(confusion.miou(published=published)),
        boundary_miou=known(boundary.miou(published=published)),
        pixel_accuracy=known(confusion.pixel_accuracy()),
        precision=known(mean_of_present(confusion.precision())),
        recall=known(mean_of_present(confusion.recall())),
        over_activation=known(confusion.over_activation()),
        under_activation=known(confusion.under_activation()),
        classes=tuple(
            ClassScores(name, *(known(column[i]) for column in columns))
            for i, name in enumerate(names)
        ),
        confusion=tuple(tuple(row) for row in confusion.counts.tolist()),
    )


def curve_scores(curve: ThresholdCurve, *, published: bool) -> CurveScores:
    """Put a threshold curve into a record."""
    best_threshold, best_miou = curve.best(published=published)
    return CurveScores(
        thresholds=tuple(round(float(t), 6) for t in curve.thresholds),
        miou=tuple(known(value) for value in curve.miou(published=published)),
        best_threshold=best_threshold,
        best_miou=known(best_miou),
    )


def point_scores(
    confusion: Confusion, threshold: float | None, source: str, *, published: bool
) -> PointScores:
    """Put the counts at one background threshold into a record."""
    return PointScores(
        background_threshold=threshold,
        background_source=source,
        miou=known(confusion.miou(published=published)),
        precision=known(mean_of_present(confusion.precision())),
        recall=known(mean_of_present(confusion.recall())),
    )


def tag_scores(quality: TagQuality, photos: int, names: Sequence[str]) -> TagScores:
    """Put tag quality into a record; ``names`` by tag id (C)."""
    columns: tuple[Float64, ...] = (
        quality.average_precision,
        quality.precision,
        quality.recall,
        quality.f1,
    )
    return TagScores(
        photos=photos,
        mean_average_precision=known(quality.mean_average_precision),
        mean_f1=known(quality.mean_f1),
        classes=tuple(
            ClassTagScores(name, int(quality.photos[c]), *(known(column[c]) for column in columns))
            for c, name in enumerate(names)
        ),
    )


def doubt_records(
    doubts: Sequence[TagDoubt], ids: Sequence[str], names: Sequence[str]
) -> tuple[DoubtfulTag, ...]:
    """Name photos (by row) and tags (by tag id) of doubtful tags."""
    return tuple(
        DoubtfulTag(ids[d.photo], names[d.tag], d.kind, round(d.probability, 4), round(d.margin, 4))
        for d in doubts
    )


def known(value: float) -> float | None:
    """A number, or None where it is NaN."""
    return None if np.isnan(value) else float(value)
