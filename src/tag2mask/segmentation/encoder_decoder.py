"""Segmentation networks of segmentation-models-pytorch on timm encoders.

DeepLabV3+ (Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611) is the default architecture.
The networks of the library (https://github.com/qubvel-org/segmentation_models.pytorch) are changed
in four ways:

* Dilation rates of DeepLab's pyramid are the published 6, 12, 18 at output stride 16, and twice
  these at 8. The library's 12, 24, 36 reach mostly beyond the crops that light networks train on.
* Batch norms of the decoder work on a batch of one photo, see `DecoderBatchNorm`.
* The head doesn't resize its logits; `EncoderDecoder.logits_at` does. A loss can compare them
  with the labels on their own grid, which takes a tenth of the time.
* The encoder's convolutions are computed faster, see ``nn.fast_conv``. Those of the pyramid are not
  replaced: its dilation is as large as the map, and they would gain nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from timm.data import resolve_data_config
from torch import Tensor, nn

from tag2mask.errors import RecipeError, first_line, nearest_hint
from tag2mask.nn.backbones.build import RESNET38
from tag2mask.nn.fast_conv import fold_batch_norms
from tag2mask.segmentation.deeplab_v1 import DEEPLAB_V1

_DILATED = {"deeplabv3": (8, 16), "deeplabv3plus": (8, 16), "pan": (16, 32)}
"""Output strides of the architectures with a choice of them."""
_PYRAMIDS = ("deeplabv3", "deeplabv3plus")
"""Architectures with an atrous spatial pyramid pooling."""
WITH_CHANNELS = ("deeplabv3", "deeplabv3plus", "pan", "upernet")
"""Architectures whose decoder has one number of channels."""
_RATES_AT_16 = (6, 12, 18)
"""Published dilation rates of the pyramid at output stride 16."""


class EncoderDecoder(nn.Module):
    """A decoder of segmentation-models-pytorch on a timm encoder, with random weights.

    Args:
        architecture: the library's name of the decoder, such as ``deeplabv3plus``.
        encoder: timm's name of the encoder.
        output_stride: image pixels per cell of the encoder's last map.
        num_classes: number of foreground classes C.
        decoder_channels: channels of the decoder, of the architectures in `WITH_CHANNELS`; None:
            the library's.

    Attributes:
        mean: mean of the input normalization, RGB in 0..1.
        std: standard deviation of the input normalization, RGB in 0..1.
        size_multiple: sides of images must be multiples of it, px.

    Raises:
        RecipeError: unknown encoder, a stride that isn't supported, or an encoder that doesn't work
            with the architecture.

    Example:
        >>> net = EncoderDecoder("unet", "resnet18", 32, num_classes=20).eval()
        >>> net(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 21, 64, 96])
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        output_stride: int,
        num_classes: int,
        *,
        decoder_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.net: Any = _create(architecture, encoder, output_stride, num_classes, decoder_channels)
        config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(encoder).to_dict())
        self.mean: tuple[float, float, float] = tuple(config["mean"])
        self.std: tuple[float, float, float] = tuple(config["std"])
        if self.net.encoder.output_stride != output_stride:
            raise stride_error(architecture, (self.net.encoder.output_stride,), output_stride)
        self.size_multiple = _size_multiple(self.net, architecture, encoder, output_stride)
        _replace_batch_norms(self.net.decoder)
        _leave_out_upsampling(self.net.segmentation_head)
        probe = torch.zeros(1, 3, self.size_multiple, self.size_multiple)
        self.eval()
        with torch.enable_grad():
            fold_batch_norms(self.net.encoder, lambda: [self.net(probe)])
        self.train()

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of each pixel.

        Args:
            image: normalized, (b, 3, H, W); H and W are multiples of ``size_multiple``.

        Returns:
            Logits (b, C+1, H, W); channel c is mask id c.
        """
        return self.logits_at(image, 1)

    def logits_at(self, image: Tensor, stride: int) -> Tensor:
        """Return logits on a grid of one cell per ``stride`` pixels.

        Args:
            image: normalized, (b, 3, H, W); H and W are multiples of ``size_multiple``.
            stride: 1, 2, 4 or 8.

        Returns:
            Logits (b, C+1, H / stride, W / stride), bilinear between the cells of the network.
        """
        logits: Tensor = self.net(image)
        size = (image.shape[2] // stride, image.shape[3] // stride)
        if logits.shape[2:] == size:
            return logits
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

    @property
    def backbone(self) -> nn.Module:
        """The encoder, which may be pretrained."""
        encoder: nn.Module = self.net.encoder
        return encoder

    def class_layers(self) -> Sequence[nn.Module]:
        """Return the layers whose outputs are background and classes."""
        layers = [m for m in self.net.segmentation_head.modules() if isinstance(m, nn.Conv2d)]
        return layers[-1:]

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that are not pretrained: all but the encoder's."""
        return [
            parameter
            for module in (self.net.decoder, self.net.segmentation_head)
            for parameter in module.parameters()
        ]

    def frozen(self, stride: int) -> list[nn.Parameter]:
        """Return the parameters of the encoder's first layers, which are not trained.

        Args:
            stride: largest output stride of these; 1: none. Vision transformers have none of a
                smaller stride than their patch.

        Raises:
            RecipeError: timm doesn't name the encoder's layers.
        """
        return [] if stride == 1 else _first_layers(self.net.encoder.model, stride)


class DecoderBatchNorm(nn.BatchNorm2d):
    """A batch norm that also works after global pooling of a single photo.

    In training a batch norm needs more than one value per channel. With one value, this one uses
    its running statistics instead of failing.

    Args:
        norm: the batch norm whose tensors are used.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (b, c, h, w); with one value per channel, by the running statistics."""
        if self.training and x.numel() == x.shape[1]:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def _create(
    architecture: str, name: str, stride: int, num_classes: int, decoder_channels: int | None
) -> Any:
    """Build the library's network with random weights."""
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
    if architecture in _DILATED:
        if stride not in _DILATED[architecture]:
            raise stride_error(architecture, _DILATED[architecture], stride)
        options["encoder_output_stride"] = stride
    if architecture in _PYRAMIDS:
        options["decoder_atrous_rates"] = tuple(rate * 16 // stride for rate in _RATES_AT_16)
    if architecture in WITH_CHANNELS and decoder_channels is not None:
        options["decoder_channels"] = decoder_channels
    if architecture == "dpt" and timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        options["dynamic_img_size"] = True  # transformers: photos of any size
    try:
        return smp.create_model(
            architecture,
            f"tu-{name}",
            encoder_weights=None,
            classes=num_classes + 1,
            **options,
        )
    # Each encoder has its own exceptions: no features, no dilation, other strides, and so on.
    except Exception as error:
        raise _combination_error(architecture, name, stride, error) from None


def _size_multiple(net: nn.Module, architecture: str, encoder: str, output_stride: int) -> int:
    """Return the smallest multiple of the stride that works as a multiple of all image sides."""
    net.eval()
    failure: Exception | None = None
    for factor in (1, 2, 4, 8):
        side = factor * output_stride
        try:
            with torch.no_grad():
                fits = all(
                    net(torch.zeros(1, 3, *size)).shape[2:] == size
                    for size in ((side, side), (side, 3 * side))
                )
        # Decoders that halve further, and encoders of a fixed size, have their own exceptions.
        except Exception as error:
            failure = error
        else:
            if fits:
                return side
    cause = failure or ValueError("the result has a different size")
    raise _combination_error(architecture, encoder, output_stride, cause)


def _replace_batch_norms(decoder: nn.Module) -> None:
    """Replace batch norms with `DecoderBatchNorm`."""
    for module in list(decoder.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, DecoderBatchNorm(child))


def _leave_out_upsampling(head: nn.Module) -> None:
    """Replace the head's last resize to the size of the image, which has no weights."""
    for name, child in head.named_children():
        if isinstance(child, nn.Upsample):
            setattr(head, name, nn.Identity())


def _first_layers(features: nn.Module, stride: int) -> list[nn.Parameter]:
    """Return the parameters of a timm feature extractor up to its last map of a stride."""
    stages = list(getattr(features, "feature_info", ()))
    names = [stage["module"] for stage in stages if stage["reduction"] <= stride]
    if not names:
        return []
    # timm flattens the names of some networks. Layers are registered in the order of their use.
    last = tuple(f"{name}." for name in (names[-1], names[-1].replace(".", "_")))
    parameters = list(features.named_parameters())
    stops = [i for i, (name, _) in enumerate(parameters) if name.startswith(last)]
    if not stops:
        raise RecipeError(
            "the first layers of the encoder can't be identified",
            where="train_segmenter.freeze_stride",
            fix="Set it to 1: all layers are trained.",
        )
    return [parameter for _, parameter in parameters[: stops[-1] + 1]]


def stride_error(architecture: str, strides: tuple[int, ...], output_stride: int) -> RecipeError:
    """Return the error for an output stride that an architecture doesn't support."""
    supported = " or ".join(map(str, strides))
    return RecipeError(
        f"{architecture} gives output stride {supported} only, not {output_stride}",
        where="network.output_stride",
        fix=f"Set it to {supported}, or choose another architecture.",
    )


def _combination_error(
    architecture: str, encoder: str, output_stride: int, error: Exception
) -> RecipeError:
    """Return the error for an encoder that an architecture can't be built on."""
    return RecipeError(
        f"{architecture} can't be built on {encoder} at output stride {output_stride} "
        f"({first_line(error)})",
        where="network.encoder",
        fix="Choose a convolutional encoder, such as resnet50 or tf_efficientnet_lite0.",
    )
