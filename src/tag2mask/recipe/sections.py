"""Sections of a recipe: every setting of a step, with its default and its range.

Sections are frozen and refuse unknown keys. In those with ``behavior``, ``published`` reproduces
the authors' code including its deviations from the paper, and ``default`` corrects them. The
sections of the training steps are in `tag2mask.recipe.training` and
`tag2mask.recipe.train_segmenter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from tag2mask.recipe.data_layouts import Layout
from tag2mask.recipe.fields import (
    MOST_PROCESSES,
    MOST_SIDE,
    MOST_THREADS,
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
    """Check both alternatives at once, so that there is one message instead of two."""
    is_side = (
        isinstance(given, (int, float))
        and not isinstance(given, bool)
        and 1 <= given <= MOST_SIDE
        and given == int(given)
    )
    if is_side or given in ("trained", "photo"):
        return given
    raise ValueError(f"a number of px up to {MOST_SIDE}, 'trained' or 'photo'")


class Prepare(Section):
    """Step ``prepare``: the photos and their tags."""

    not_identity = frozenset({"skip_bad", "val_fraction"})

    source: Layout = "auto"
    """Layout of the data folder; auto: detected."""
    tags: Literal["auto", "annotations", "tags.csv", "cls_labels", "masks"] = "auto"
    """Source of the tags in VOC's layout; ``masks``: in Roboflow's, from the masks."""
    train_split: str = "train"
    """Name of a split, or path of a text file of ids."""
    val_split: str | None = "val"
    """Name of a split, or path of a text file of ids; null: none."""
    val_fraction: Annotated[Number, Field(ge=0.0, le=0.5)] = 0.2
    """Share of the photos that is drawn for validation where the data names none; 0: none."""
    skip_bad: bool = False
    """Skip unreadable photos (listed in the manifest, exit code 3) instead of stopping."""


class InferCam(Section):
    """Step ``infer-cam``: multi-scale class activation maps of every photo."""

    not_identity = frozenset({"batch_views", "skip_bad"})
    added_keys = MappingProxyType({"tile": None})

    behavior: Behavior = "default"
    branch: Literal["auto", "refined", "plain", "attention"] = "auto"
    """The CAM refined by PCM or the plain one; auto: refined if PCM was trained; attention: the
    plain one, spread along the attention of a ViT."""
    long_side: Side | None = 384
    """The photo's long side at scale 1, px; null: its own size (published)."""
    scales: tuple[Scale, ...] = (1.0, 1.5)
    """Scales of the views whose maps are averaged."""
    flip: bool = True
    """Also average the maps of the mirrored views."""
    tile: Annotated[Integer, Field(ge=64, le=MOST_SIDE)] | None = None
    """Plain maps of views larger than this are computed in tiles of this side, px, which overlap by
    an eighth of it; null: no tiles."""
    gate_by_tags: bool = True
    """Only the classes of the photo's tags enter PCM."""
    batch_views: Count = 8
    """Views computed at once; on a CPU, views of one photo only."""
    map_stride: MapStride = 4
    """Photo pixels per stored map cell."""
    map_dtype: Literal["uint8", "float16"] = "uint8"
    tags: Literal["known", "untagged", "predicted"] = "known"
    """Which classes get maps: the photo's tags; predicted tags for photos without tags; predicted
    tags for all photos."""
    tag_threshold: Fraction = 0.5
    """Smallest probability of a predicted tag; the most probable class is always predicted."""
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    precision: Precision = "auto"
    skip_bad: bool = False


class ThresholdChoice(Section):
    """Source of the background threshold of the maps."""

    key: ClassVar[str]
    """Name of the section in a recipe."""

    threshold_from: Literal["auto", "fixed", "calibrated", "estimated"] = "auto"
    """fixed: ``background_threshold``; calibrated: highest mIoU on a few masked photos; estimated:
    from the maps, without masks; auto: calibrated if corrections have at least 10 drawn or accepted
    masks, else 0.5 for maps after the walk, else estimated."""
    background_threshold: Fraction = 0.26
    """The threshold for fixed: a pixel whose best class scores no more is background."""
    calibrate_photos: Count = 50
    """Largest number of masked training photos for a calibration; they are drawn with a fixed seed
    and listed in the manifest."""


class Crf(Section):
    """The dense CRF; the defaults are those published for class activation maps."""

    iterations: NonNegativeCount = 10
    """Iterations of mean field; 0: the scores themselves."""
    gaussian_sxy: Positive = 3.0
    """Standard deviation of the position kernel, px."""
    gaussian_weight: NonNegative = 3.0
    """Weight of this kernel; 0: without it."""
    bilateral_sxy: Positive = 80.0
    """Standard deviation of position in the position and color kernel, px."""
    bilateral_srgb: Positive = 13.0
    """Standard deviation of color in this kernel, in levels of 0..255."""
    bilateral_weight: NonNegative = 10.0
    """Weight of this kernel; 0: without it."""

    def numbers(self) -> dict[str, Any]:
        """Return the values of `tag2mask.crf.dense_crf.CrfSettings`, by name."""
        return self.model_dump(exclude={"enabled"})


class AffinityLabeling(ThresholdChoice):
    """Step ``affinity-labels``: labels of the pixels on which two dense CRFs agree."""

    key: ClassVar[str] = "affinity_labels"

    not_identity = frozenset({"skip_bad"})
    added_keys = MappingProxyType({"use_drawn": False})

    behavior: Behavior = "default"
    """published: also write the marginals of both CRFs, which ``train-affinity`` averages over its
    cells with ``behavior: published``."""
    alphas: tuple[Positive, Positive] | None = None
    """α of the strong and of the weak background (published: 4 and 24); null: derived from the
    background threshold."""
    alpha_factors: tuple[Positive, Positive] = (2 / 3, 4.0)
    """Factors of the α that equals the background threshold (published: 4 and 24 relative to 6)."""
    crf: Crf = Crf()
    use_drawn: bool = False
    """Masks that were drawn or accepted in corrections are labels, in place of the CRFs'."""
    skip_bad: bool = False


class Walk(ThresholdChoice):
    """Step ``walk``: random walk that spreads maps along affinities."""

    key: ClassVar[str] = "walk"

    not_identity = frozenset({"skip_bad"})
    added_keys = MappingProxyType({"affinity": "trained"})

    enabled: bool = True
    """False: no AffinityNet and no walk; pseudo masks come from the maps of ``infer-cam``."""
    behavior: Behavior = "default"
    affinity: Literal["trained", "attention"] = "trained"
    """Affinities of a trained AffinityNet; attention: of all pairs of cells, from the attention of
    the CAM network, a ViT, which needs no training: no affinity labels and no AffinityNet."""
    alpha: Positive | None = None
    """Exponent of the background map (1 - max)^α (published: 6); null: derived from the
    background threshold."""
    radius: Count | None = None
    """Radius of the pairs, in cells; null: that of the training."""
    beta: Positive = 8.0
    """Exponent of the affinities; larger values keep maps from crossing weak ones."""
    steps: NonNegativeCount = 16
    """Multiplications with the transition matrix; 0 leaves the maps unchanged. With ``affinity:
    attention`` the default is 1."""
    long_side: Side | None = 384
    """The photo's long side at scale 1, px; null: its own size (published)."""
    scales: tuple[Scale, ...] = (1.0,)
    """Scales whose affinities are averaged."""
    map_stride: MapStride = 4
    """Photo pixels per stored map cell."""
    map_dtype: Literal["uint8", "float16"] = "uint8"
    precision: Precision = "auto"
    skip_bad: bool = False

    @model_validator(mode="before")
    @classmethod
    def _steps_of_attention(cls, values: Any) -> Any:
        """A step along all pairs of cells, as in CLIP-ES, spreads maps over the whole photo."""
        if not isinstance(values, Mapping) or values.get("affinity") != "attention":
            return values
        return {"steps": 1, **values}


class Tune(Section):
    """Command ``tune``: the grid of settings of the walk.

    All combinations are tried, with every background threshold, and the recipe's own settings.
    """

    not_identity = frozenset({"skip_bad"})

    photos: Count = 50
    """Largest number of masked training photos, drawn as for ``calibrate_photos``."""
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
    """The dense CRF of pseudo masks."""

    enabled: bool = False
    iterations: NonNegativeCount = 1
    """Published: 1 after the walk, 10 on activation maps."""


class PseudoMasks(ThresholdChoice):
    """Step ``pseudo-masks``: label masks from maps, as palette PNGs."""

    key: ClassVar[str] = "pseudo_masks"

    not_identity = frozenset({"overlays", "skip_bad"})
    added_keys = MappingProxyType({"class_thresholds": MappingProxyType({})})

    class_thresholds: dict[str, Fraction] = Field(default_factory=dict)
    """Background thresholds of single classes, by name; the other classes have the common one."""
    crf: MaskCrf = MaskCrf()
    unsure_below: Fraction | None = None
    """Pixels of lower confidence get the ignore value 255; null: none."""
    confidence: bool = False
    """Also write the confidence of each pixel, ``confidence/<id>.png``, 8-bit gray."""
    overlays: bool = False
    """Also write ``overlays/<id>.jpg``, the mask over the photo."""
    skip_bad: bool = False
    """Skip unreadable photos instead of stopping; only the CRF and overlays read photos."""


class SegmentationCrf(Crf):
    """The dense CRF of predictions; the defaults are those published for DeepLab."""

    enabled: bool = False
    iterations: NonNegativeCount = 1
    bilateral_sxy: Positive = 32.0


class Predict(Section):
    """Step ``predict``: masks from the segmentation network, without tags."""

    not_identity = frozenset({"batch_size", "skip_bad"})

    behavior: Behavior = "default"
    """published: average the logits of the views instead of their probabilities, without padding
    them, and give all classes to the CRF."""
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    """Splits to predict in a run."""
    long_side: Annotated[Side | Literal["trained", "photo"], BeforeValidator(_side_or_name)] = (
        "trained"
    )
    """The photo's long side at scale 1, px; trained: the middle of the range in training; photo:
    its own size."""
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1.0,)
    """Scales whose probabilities are averaged."""
    flip: bool = False
    """Also average the probabilities of the mirrored views."""
    tile: Annotated[Integer, Field(ge=64, le=MOST_SIDE)] = 1024
    """Views larger than this are computed in tiles of this side, px."""
    overlap: NonNegativeCount = 128
    """Overlap of neighboring tiles, px; they are blended there."""
    crf: SegmentationCrf = SegmentationCrf()
    overlays: bool = False
    """Also write ``overlays/<id>.jpg``, the mask over the photo."""
    confidence: bool = False
    """Also write the confidence of each pixel, ``confidence/<id>.png``, 8-bit gray."""
    probabilities: bool = False
    """Also write the probability of every class, ``probabilities/<id>.npz``, float16."""
    batch_size: Count = 8
    """Views of equal size computed at once."""
    precision: Precision = "auto"
    skip_bad: bool = False
    """Skip unreadable photos (exit code 3) instead of stopping; the command always skips them."""

    def side(self, trained: int | None) -> int | None:
        """Return the photo's long side at scale 1, px; None: its own.

        Args:
            trained: that of the training, px; None: the photo's own.
        """
        side = self.long_side
        return side if isinstance(side, int) else {"trained": trained, "photo": None}[side]


class ComparedCrf(Crf):
    """A dense CRF on the maps of ``infer-cam``, as a comparison with the random walk."""

    enabled: bool = False
    """Takes about 0.2 s per photo of 500 px on one processor core."""


class Evaluate(Section):
    """Step ``evaluate``: scores of maps, masks and tags."""

    added_keys = MappingProxyType({"use_drawn": False})

    behavior: Behavior = "default"
    """published: a class without any pixel has IoU 0; default: it is left out of the mean."""
    thresholds: Annotated[tuple[Fraction, ...], Field(min_length=1)] = tuple(
        round(i / 100, 2) for i in range(100)
    )
    """Background thresholds of the threshold curve."""
    boundary_share: Annotated[Number, Field(gt=0.0, le=0.5)] = 0.02
    """Width of the band of boundary IoU, as a share of the photo's diagonal."""
    min_area: Fraction = 0.001
    """A photo shows a class if the network's mask has at least this share of it; for the rates of
    missed photos and false alarms."""
    crf: ComparedCrf = ComparedCrf()
    leave_out: str | None = None
    """Text file with ids of photos to leave out, such as those on which settings were chosen."""
    use_drawn: bool = False
    """Also score photos whose masks were drawn or accepted in corrections; drawn masks are ground
    truth where the data has none. The network learned from those of training photos."""


class Report(Section):
    """Step ``report``: an HTML page."""

    photos: Count = 6
    """Number of photos shown in each section."""
    title: str = "tag2mask"


class RuntimeSettings(Section):
    """Devices, processes and threads. They aren't part of a folder's identity."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Annotated[Integer, Field(ge=1, le=MOST_PROCESSES)] = 1
    workers: Annotated[Integer, Field(ge=0, le=MOST_PROCESSES)] | None = None
    """Number of processes that read photos for a training. 0: threads of the training read a batch
    between two steps; null: 2 with a GPU, else 0."""
    threads: Annotated[Integer, Field(ge=0, le=MOST_THREADS)] = 0
    """CPU threads of the network; 0: one per core."""
