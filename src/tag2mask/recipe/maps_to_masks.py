"""Sections of the steps from maps to masks: affinity labels, walk and its tuning, pseudo masks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tag2mask.recipe.crf import Crf, MaskCrf
from tag2mask.recipe.fields import (
    Behavior,
    Count,
    Fraction,
    MapStride,
    NonNegativeCount,
    Positive,
    Precision,
    Scale,
    Section,
    Side,
)


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
