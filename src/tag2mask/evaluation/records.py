"""The dataclasses that ``evaluation.json`` consists of.

Shares and IoU are in [0, 1]; a value that doesn't exist (an absent class, no masks) is None. Every
score is stored with its split, number of photos, tag source, background threshold and the source of
that threshold. docs/reference/steps/evaluate.md describes each field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from tag2mask.artifacts.handles import Evaluation
from tag2mask.errors import RunFolderError
from tag2mask.files.json_file import read_json

SCORES, PHOTOS = "evaluation.json", "photos.jsonl"
"""Files of an evaluation: all scores, and one line of them per photo."""
MAPS_BY_HEAD = {
    "cam": {"refined": "SEAM", "plain": "CAM", "attention": "CAM + attention"},
    "mdc": {"refined": "MDC + PCM", "plain": "MDC", "attention": "MDC + attention"},
}
"""Names of maps, by the head and the branch of the network."""
WALK, CRF = "walk", "CRF"
"""Names of the steps that refine maps: random walk and dense CRF."""
OWN_THRESHOLDS = "class thresholds"
"""Name of background thresholds of single classes."""
GIVEN = "given masks"
"""Name of the stage of masks that a run was given."""
SEGMENTER = "segmenter"
"""Name of the segmentation network's masks, which need no tags and no background threshold."""
NO_TAGS, NO_THRESHOLD = "no", "argmax"
"""Tag source and threshold source of the segmentation network's masks."""

EVIDENCE = {
    "agreement": "IoU of the network's and the {mask}",
    "tag_agreement": "the same over the background and the tags",
    "walk_agreement": "IoU of the masks before and after the walk",
    "certainty": "lead of the largest score",
}
"""Kinds of evidence, and what each is; ``{mask}`` is what a mask of the run is called."""

Share = Annotated[float, Field(ge=0.0, le=1.0 + 1e-6, allow_inf_nan=False)]
"""A value in [0, 1], up to rounding."""
ShareInterval = tuple[Share, Share]
"""An `Interval` of `tag2mask.metrics.bootstrap`, of a share, checked when it is read."""
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class ClassScores:
    """Scores of masks for one class or the background.

    Attributes:
        iou_interval, precision_interval, recall_interval: None where fewer than three groups of
            photos contribute.
    """

    name: str
    iou: Share | None
    precision: Share | None
    recall: Share | None
    false_positive_share: Share | None
    false_negative_share: Share | None
    boundary_iou: Share | None
    iou_interval: ShareInterval | None = None
    precision_interval: ShareInterval | None = None
    recall_interval: ShareInterval | None = None


@dataclass(frozen=True)
class MaskScores:
    """Scores of masks on ``photos`` photos with ground truth.

    Attributes:
        precision, recall: means over the classes where they are defined.
        over_activation, under_activation: mean FP / TP and FN / TP over foreground classes.
        confusion: pixels by true class (rows) and predicted class (columns), (C+1, C+1).
    """

    photos: Count
    miou: Share | None
    boundary_miou: Share | None
    pixel_accuracy: Share | None
    precision: Share | None
    recall: Share | None
    over_activation: NonNegative | None
    under_activation: NonNegative | None
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[Count, ...], ...]
    miou_interval: ShareInterval | None = None

    def __post_init__(self) -> None:
        if {len(self.confusion), *map(len, self.confusion)} != {len(self.classes)}:
            raise ValueError("a confusion matrix of other classes")


@dataclass(frozen=True)
class CurveScores:
    """mIoU of maps at each background threshold; the best threshold is chosen on the masks."""

    thresholds: tuple[Share, ...]
    miou: tuple[Share | None, ...]
    best_threshold: Share
    best_miou: Share | None

    def __post_init__(self) -> None:
        if not self.thresholds or len(self.thresholds) != len(self.miou):
            raise ValueError("thresholds and values that don't belong together")


@dataclass(frozen=True)
class PointScores:
    """Scores of label masks at one background threshold.

    Attributes:
        background_threshold: None if unknown.
        background_source: as in `SplitScores`, or ``best``: the best of the curve, chosen on the
            same masks as it is evaluated on.
        precision, recall: means over the classes where they are defined.
    """

    background_threshold: Share | None
    background_source: str
    miou: Share | None
    precision: Share | None
    recall: Share | None
    miou_interval: ShareInterval | None = None


@dataclass(frozen=True)
class StageScores:
    """Scores of one stage between maps and masks, on ``photos`` photos with masks.

    Attributes:
        name: maps and refinement, such as ``SEAM + walk``.
        tag_source: of its maps.
        used: at the background threshold in use; None if that is unknown.
        best: at the best background threshold; None for masks.
        curve: at each background threshold; None for masks.
        boundary_miou: None for maps.
    """

    name: str
    photos: Count
    tag_source: str
    used: PointScores | None
    best: PointScores | None
    curve: CurveScores | None
    boundary_miou: Share | None = None


@dataclass(frozen=True)
class ClassTagScores:
    """Scores of the tag classifier for one foreground class."""

    name: str
    photos: Count
    average_precision: Share | None
    precision: Share | None
    recall: Share | None
    f1: Share | None


@dataclass(frozen=True)
class TagScores:
    """Scores of the tag classifier on ``photos`` tagged photos, at probability 0.5."""

    photos: Count
    mean_average_precision: Share | None
    mean_f1: Share | None
    classes: tuple[ClassTagScores, ...]


@dataclass(frozen=True)
class DoubtfulTag:
    """A tag that the classifier contradicts; see `tag2mask.metrics.tag_scores.doubtful_tags`."""

    photo: str
    tag: str
    kind: Literal["missing", "wrong"]
    probability: Share
    margin: float


@dataclass(frozen=True)
class ClassRates:
    """Missed photos and false alarms of the network for one class, against the tags.

    Attributes:
        tagged: photos with the tag.
        missed: those of them whose mask doesn't show the class.
        untagged: photos without the tag.
        false_alarms: those of them whose mask shows the class.
        missed_interval, false_alarm_interval: of the rates; None without such photos.
    """

    name: str
    tagged: Count
    missed: Count
    missed_interval: ShareInterval | None
    untagged: Count
    false_alarms: Count
    false_alarm_interval: ShareInterval | None


@dataclass(frozen=True)
class PhotoRates:
    """What the network's masks show, against the tags of the photos; no masks are needed.

    Attributes:
        groups: groups of the photos.
        min_area: share of a photo from which a class counts as shown.
        shown: number of photos whose mask shows a class, (C+1, C): by tag (rows; the last one are
            photos without a tag) and class (columns). Off the diagonal only photos without the
            column's tag count.
        among: the number of photos that ``shown`` is out of, (C+1, C).
    """

    photos: Count
    groups: Count
    min_area: Share
    classes: tuple[ClassRates, ...]
    shown: tuple[tuple[Count, ...], ...]
    among: tuple[tuple[Count, ...], ...]

    def __post_init__(self) -> None:
        for matrix in (self.shown, self.among):
            widths = {*map(len, matrix), len(matrix) - 1}
            if widths != {len(self.classes)}:
                raise ValueError("rates of other classes")


@dataclass(frozen=True)
class CrossFitted:
    """Scores of the pseudo masks where photos of the split calibrated the background threshold.

    Attributes:
        photos: number of these photos; each half of them is scored at the best threshold of the
            other half. The other photos are scored at the threshold in use.
        thresholds: the best thresholds of the halves.
        masks: the scores of all photos of the split with ground truth; boundaries aren't scored.
    """

    photos: Count
    thresholds: tuple[Share, Share]
    masks: MaskScores


@dataclass(frozen=True)
class SplitScores:
    """All scores of one split.

    Attributes:
        photos: photos with maps; without maps, all.
        tag_source: of the maps; ``no`` without maps.
        background_threshold: of the pseudo masks; None if unknown.
        background_source: ``fixed``, ``calibrated``, ``estimated``, ``walk`` or ``unknown``; of
            imported masks, who made them.
        class_thresholds: of the pseudo masks, by name of the classes that have one of their own.
        masks, curve: None where no photo of the split has a mask; without maps, no curve.
        tags: None where no photo of the split has a tag, and without maps.
        stages: from the earliest maps to the masks; empty without masks.
        left_out: number of photos that ``evaluate.leave_out`` named and, without ``use_drawn``, of
            those with drawn or accepted masks.
        evidence: mean of each kind of `tag2mask.evaluation.evidence.EVIDENCE` over the photos that
            have it.
        network: scores of the network's masks; None where it predicted no photo with ground truth.
        cross_fitted: None where no photo of the split calibrated the threshold.
        rates: of the network; None where it predicted no photo of the split.
    """

    split: str
    photos: Count
    tag_source: str
    background_threshold: Share | None
    background_source: str
    masks: MaskScores | None
    curve: CurveScores | None
    tags: TagScores | None
    doubtful_tags: tuple[DoubtfulTag, ...]
    stages: tuple[StageScores, ...] = ()
    left_out: Count = 0
    evidence: dict[str, Share] = field(default_factory=dict)
    rates: PhotoRates | None = None
    cross_fitted: CrossFitted | None = None
    network: MaskScores | None = None
    class_thresholds: dict[str, Share] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationScores:
    """The content of ``evaluation.json``.

    Attributes:
        classes: names by mask id, ``background`` first (C+1).
        behavior: ``published``: an absent class has IoU 0; ``default``: it is excluded from means.
        masks_made_by: of masks that were scored without maps: who made them, ``drawn``,
            ``model:NAME`` or ``pseudo-masks``; None: the masks were made from the maps.
    """

    classes: tuple[str, ...]
    behavior: Literal["default", "published"]
    splits: tuple[SplitScores, ...]
    masks_made_by: str | None = None


def maps_name(metrics: Mapping[str, Any]) -> str | None:
    """Return the name of the maps of an ``infer-cam`` step with these metrics; None if unknown."""
    branches = MAPS_BY_HEAD.get(str(metrics.get("head", "cam")), {})
    return branches.get(str(metrics.get("branch")))


def scores_from_json(values: Any, *, where: str) -> EvaluationScores:
    """Parse the content of an ``evaluation.json``.

    Raises:
        RunFolderError: the content is not valid, or of another version.
    """
    try:
        return TypeAdapter(EvaluationScores).validate_python(values)
    except ValidationError as error:
        raise RunFolderError(
            f"not an evaluation.json of this version ({error.error_count()} problems)",
            where=where,
            fix="Delete its folder and run `tag2mask evaluate` again.",
        ) from None


def read_scores(evaluation: Evaluation) -> EvaluationScores:
    """Read ``evaluation.json``.

    Raises:
        RunFolderError: missing or damaged.
    """
    path = evaluation.path / SCORES
    return scores_from_json(read_json(path), where=str(path))
