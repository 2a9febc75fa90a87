"""The sections of a recipe: every setting of every step, with its default and its range.

A section is strict (unknown keys are refused) and frozen. Each one that touches the published
method carries ``behavior``: ``published`` reproduces the authors' code with its quirks, ``default``
mends them. The sections of the steps that train stand in ``training_sections.py``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tag2mask.recipe.fields import (
    MOST_SIDE,
    Behavior,
    Count,
    Fraction,
    Integer,
    MapStride,
    NonNegative,
    NonNegativeCount,
    Number,
    Positive,
    Precision,
    Scale,
    Section,
    Side,
)


def _side_or_name(given: object) -> object:
    """Told at once, instead of what is wrong with each of the two."""
    whole = (
        isinstance(given, (int, float))
        and not isinstance(given, bool)
        and 1 <= given <= MOST_SIDE
        and given == int(given)
    )
    if whole or given in ("trained", "photo"):
        return given
    raise ValueError(f"a number of px up to {MOST_SIDE}, 'trained' or 'photo'")


class Prepare(Section):
    """Step ``prepare``: which photos and tags."""

    not_identity = frozenset({"skip_bad"})

    source: Literal["auto", "voc", "csv", "folders", "coco"] = "auto"
    tags: Literal["auto", "annotations", "tags.csv", "cls_labels"] = "auto"
    """Where a VOC layout's tags come from."""
    train_split: str = "train"
    """Name of a split, or path of a text file of ids."""
    val_split: str | None = "val"
    """Name of a split, or path of a text file of ids; null: none."""
    skip_bad: bool = False
    """Leave unreadable photos out (listed in the manifest, exit code 3) instead of stopping."""


class InferCam(Section):
    """Step ``infer-cam``: multi-scale maps of every photo."""

    not_identity = frozenset({"batch_views", "skip_bad"})

    behavior: Behavior = "default"
    branch: Literal["auto", "refined", "plain"] = "auto"
    """Which map; auto: refined where PCM was trained, else plain."""
    long_side: Side | None = 384
    """Scale 1 has this long side, px; null: the photo's own size (published)."""
    scales: tuple[Scale, ...] = (1.0, 1.5, 2.0)
    flip: bool = True
    gate_by_tags: bool = True
    """Only the photo's own classes enter PCM."""
    batch_views: Count = 8
    """Views computed at once, on a CPU of one photo alone."""
    map_stride: MapStride = 4
    """Photo pixels per stored map cell."""
    map_dtype: Literal["uint8", "float16"] = "uint8"
    tags: Literal["known", "untagged", "predicted"] = "known"
    """Whose maps: the photo's tags; predicted ones for photos without any; predicted for all."""
    tag_threshold: Fraction = 0.5
    """Predicted tags: the smallest probability; the best class always counts where tags are due."""
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    precision: Precision = "auto"
    skip_bad: bool = False


class ThresholdChoice(Section):
    """Where the background threshold comes from that maps are held against."""

    key: ClassVar[str]
    """Name of the section in a recipe."""

    threshold_from: Literal["auto", "fixed", "calibrated", "estimated"] = "auto"
    """``background_threshold``; a few masked photos; the maps alone. auto: 0.5 for walked maps, in
    which the background took part, else estimated."""
    background_threshold: Fraction = 0.26
    calibrate_photos: Count = 50
    """Masked training photos that ``calibrated`` may look at (drawn by seed 0, named in the
    manifest)."""


class Crf(Section):
    """The dense CRF; the defaults are published for activation maps."""

    iterations: NonNegativeCount = 10
    gaussian_sxy: Positive = 3.0
    """Standard deviation of the kernel of position, px."""
    gaussian_weight: NonNegative = 3.0
    bilateral_sxy: Positive = 80.0
    """Standard deviation of position in the kernel of position and color, px."""
    bilateral_srgb: Positive = 13.0
    """Standard deviation of color in that kernel, of 255 levels."""
    bilateral_weight: NonNegative = 10.0


class AffinityLabeling(ThresholdChoice):
    """Step ``affinity-labels``: where two dense CRFs agree."""

    key: ClassVar[str] = "affinity_labels"

    not_identity = frozenset({"skip_bad"})

    alphas: tuple[Positive, Positive] | None = None
    """α of the strong and of the weak background (published: 4 and 24); null: from the background
    threshold in use."""
    alpha_factors: tuple[Positive, Positive] = (2 / 3, 4.0)
    """The two α relative to that of the threshold in use (published: 4 and 24 around 6)."""
    crf: Crf = Crf()
    skip_bad: bool = False


class Walk(ThresholdChoice):
    """Step ``walk``: maps spread along affinities."""

    key: ClassVar[str] = "walk"

    not_identity = frozenset({"skip_bad"})

    enabled: bool = True
    """False: no walk, and no affinities; masks are made of the maps of ``infer-cam``."""
    behavior: Behavior = "default"
    alpha: Positive | None = None
    """Exponent of the background (1 - max)^α (published: 6); null: from the background threshold in
    use."""
    radius: Count | None = None
    """Of the pairs, in cells; null: that of the training."""
    beta: Positive = 8.0
    """Exponent of the affinities; the larger, the less maps cross weak ones."""
    steps: NonNegativeCount = 64
    """Multiplications with the transition matrix; 0: the maps stay as they are."""
    long_side: Side | None = 384
    """The photo's long side at scale 1, px; null: its own size (published)."""
    scales: tuple[Scale, ...] = (1.0,)
    """Scales at which affinities are computed; their mean is used."""
    map_stride: MapStride = 4
    """Photo pixels per stored map cell."""
    map_dtype: Literal["uint8", "float16"] = "uint8"
    precision: Precision = "auto"
    skip_bad: bool = False


class Tune(Section):
    """Command ``tune``: which settings of the walk are tried, each combined with each.

    Those of the recipe are tried too, and every background threshold after the walk.
    """

    not_identity = frozenset({"skip_bad"})

    photos: Count = 50
    """Masked training photos to look at, at most (drawn as for ``calibrated``)."""
    alphas: Annotated[tuple[Positive, ...], Field(min_length=1)] = (
        1.0,
        2.0,
        3.0,
        4.0,
        6.0,
        8.0,
        12.0,
        24.0,
    )
    betas: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2.0, 4.0, 8.0, 16.0)
    steps: Annotated[tuple[NonNegativeCount, ...], Field(min_length=1)] = (16, 32, 64, 128, 256)
    skip_bad: bool = False


class MaskCrf(Crf):
    """The dense CRF that masks are sharpened with."""

    enabled: bool = False
    iterations: NonNegativeCount = 1
    """Published: 1 after the walk, 10 on activation maps."""


class PseudoMasks(ThresholdChoice):
    """Step ``pseudo-masks``: maps to palette PNGs."""

    key: ClassVar[str] = "pseudo_masks"

    not_identity = frozenset({"skip_bad"})

    crf: MaskCrf = MaskCrf()
    unsure_below: Fraction | None = None
    """Pixels of a lower confidence get the ignore value 255; null: none."""
    confidence: bool = False
    """Write each pixel's confidence too, ``confidence/<id>.png``, 8 bits of gray."""
    skip_bad: bool = False
    """With the CRF, which reads photos: leave unreadable ones out."""


class SegmentationCrf(Crf):
    """The dense CRF on the segmentation network's probabilities, as published for DeepLab."""

    enabled: bool = False
    iterations: NonNegativeCount = 1
    bilateral_sxy: Positive = 32.0


class Predict(Section):
    """Step ``predict``: masks of photos by the segmentation network, without tags."""

    not_identity = frozenset({"batch_size", "skip_bad"})

    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    """In a run: whose masks."""
    long_side: Annotated[Side | Literal["trained", "photo"], BeforeValidator(_side_or_name)] = (
        "trained"
    )
    """The photo's long side at scale 1, px; trained: the middle of what the network was trained at;
    photo: its own size."""
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1.0,)
    """Scales whose probabilities are averaged."""
    flip: bool = False
    """Average each view with its mirror image too."""
    tile: Annotated[Integer, Field(ge=64, le=MOST_SIDE)] = 1024
    """Views larger than this are computed in tiles of this side, px."""
    overlap: NonNegativeCount = 128
    """Shared by neighboring tiles, px; blended there."""
    crf: SegmentationCrf = SegmentationCrf()
    overlays: bool = False
    """Write ``overlays/<id>.jpg`` too: the mask over the photo."""
    confidence: bool = False
    """Write each pixel's confidence too, ``confidence/<id>.png``, 8 bits of gray."""
    probabilities: bool = False
    """Write every class's probability too, ``probabilities/<id>.npz``, half floats."""
    batch_size: Count = 8
    """Views of equal size computed at once."""
    precision: Precision = "auto"
    skip_bad: bool = False
    """Leave unreadable photos out (named, exit code 3); the command always does."""


class ComparedCrf(Crf):
    """A dense CRF on the maps of ``infer-cam``, to compare the random walk with."""

    enabled: bool = False
    """Costs some 0.2 s a photo of 500 px and processor."""


class Evaluate(Section):
    """Step ``evaluate``: how good maps, masks and tags are."""

    behavior: Behavior = "default"
    """paper: a class that occurs nowhere counts as IoU 0."""
    thresholds: Annotated[tuple[Fraction, ...], Field(min_length=1)] = tuple(
        round(i / 100, 2) for i in range(100)
    )
    boundary_share: Annotated[Number, Field(gt=0.0, le=0.5)] = 0.02
    """Boundary IoU: width of the band, share of the photo's diagonal."""
    crf: ComparedCrf = ComparedCrf()
    leave_out: str | None = None
    """Text file of ids, of photos that are to be in no number: settings were chosen on them."""


class Report(Section):
    """Step ``report``: the HTML page."""

    photos: Count = 6
    """Photos shown of each kind."""
    title: str = "tag2mask"


class RuntimeSettings(Section):
    """Where it runs. Never part of a fingerprint."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    workers: NonNegativeCount = 2
    """Processes that read photos."""
    threads: NonNegativeCount = 0
    """CPU threads of the network; 0: one a core."""
