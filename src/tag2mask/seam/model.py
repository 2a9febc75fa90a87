"""The architecture of a CAM network as plain values, networks built from it, and their files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.nn.model_file import ModelKind, Positive, read_model, read_spec, write_model
from tag2mask.nn.official_checkpoints import official_seam_state
from tag2mask.nn.weights import load_into, load_state
from tag2mask.seam.cam_head import Pooling
from tag2mask.seam.mdc import PUBLISHED_RATES, MdcHead
from tag2mask.seam.network import SeamNet
from tag2mask.seam.parts import PCM_PART, make_part
from tag2mask.seam.pcm import PUBLISHED_PCM, PcmSettings


@dataclass(frozen=True)
class SeamSpec:
    """Architecture of a CAM network, without its weights.

    Attributes:
        classes: names of the foreground classes.
        backbone: ``resnet38`` or the name of a timm model.
        output_stride: of the backbone's last map.
        pcm_levels: strides of the two mid-level maps, finest first; None: chosen by stride.
        truncated: whether the backbone ends at its output stride instead of being dilated.
        pcm: whether there is a PCM.
        pcm_channels: see `tag2mask.seam.pcm.PcmSettings`.
        pcm_finest: see `tag2mask.seam.pcm.PcmSettings`.
        pcm_power: see `tag2mask.seam.pcm.PcmSettings`.
        block_mib: see `tag2mask.seam.pcm.PcmSettings`.
        dropout: see `SeamNet`.
        pooling: see `SeamNet`.
        centered: see `SeamNet`.
        head: a CAM head or an `MdcHead`.
        mdc_rates: dilation rates of an `MdcHead`.
        mdc_channels: channels of each of its branches.
        pcm_module: ``package.module:Class`` of a user's own in place of PCM; None: PCM.
        pcm_options: its keyword arguments.
    """

    classes: tuple[str, ...]
    backbone: str
    output_stride: Positive
    pcm_levels: tuple[int, int] | None
    truncated: bool
    pcm: bool
    pcm_channels: tuple[Positive, Positive]
    pcm_finest: bool
    pcm_power: Annotated[float, Field(gt=0.0)]
    block_mib: Positive
    dropout: Annotated[float, Field(ge=0.0, le=1.0)]
    pooling: Pooling
    centered: bool
    head: Literal["cam", "mdc"]
    mdc_rates: Annotated[tuple[Positive, ...], Field(max_length=16)]
    mdc_channels: Positive
    pcm_module: str | None
    pcm_options: dict[str, Any]

    @property
    def class_set(self) -> ClassSet:
        """The foreground classes."""
        return ClassSet(self.classes)


OFFICIAL_SEAM = SeamSpec(
    classes=VOC_NAMES,
    backbone="resnet38",
    output_stride=8,
    pcm_levels=None,
    truncated=False,
    pcm=True,
    pcm_channels=PUBLISHED_PCM.channels,
    pcm_finest=PUBLISHED_PCM.finest,
    pcm_power=PUBLISHED_PCM.power,
    block_mib=PUBLISHED_PCM.block_mib,
    dropout=0.5,
    pooling="avg",
    centered=False,
    head="cam",
    mdc_rates=PUBLISHED_RATES,
    mdc_channels=128,
    pcm_module=None,
    pcm_options={},
)
"""The published network, that of the authors' ``resnet38_SEAM.pth``."""


def build_seam(spec: SeamSpec, *, weights: str = "none", modules: Collection[str] = ()) -> SeamNet:
    """Build a network.

    Args:
        spec: its architecture.
        weights: ImageNet weights of the backbone: ``packaged``, ``hub``, ``none`` or a file.
        modules: parts of the user's own that may be imported, as ``package.module:Class``.

    Raises:
        WeightsError: weights missing or of another network.
        PartError: ``spec.pcm_module`` is not in ``modules``, or can't be used.
    """
    backbone = build_backbone(
        spec.backbone,
        weights=weights,
        output_stride=spec.output_stride,
        pcm_levels=spec.pcm_levels,
        truncated=spec.truncated,
    )
    head = (
        MdcHead(
            backbone.channels[2],
            len(spec.classes),
            rates=spec.mdc_rates,
            channels=spec.mdc_channels,
        )
        if spec.head == "mdc"
        else None
    )
    pcm = PcmSettings(
        channels=spec.pcm_channels,
        finest=spec.pcm_finest,
        power=spec.pcm_power,
        block_mib=spec.block_mib,
    )
    part = None
    if spec.pcm and spec.pcm_module is not None:
        part = make_part(
            spec.pcm_module, PCM_PART, spec.pcm_options, *backbone.channels[:2], modules=modules
        )
    return SeamNet(
        backbone,
        len(spec.classes),
        pcm=pcm if spec.pcm else None,
        dropout=spec.dropout,
        pooling=spec.pooling,
        centered=spec.centered,
        head=head,
        part=part,
    )


def _stored_spec(
    classes: tuple[str, ...], backbone: str, output_stride: int, **others: Any
) -> SeamSpec:
    """Return the specification in a file; a field that was added later has the published value."""
    return replace(
        OFFICIAL_SEAM, classes=classes, backbone=backbone, output_stride=output_stride, **others
    )


SEAM_KIND = ModelKind(
    name="a CAM model",
    key="tag2mask",
    fix="Give a model.safetensors written by train-cam, or an official SEAM .pth.",
    spec=_stored_spec,
    build=build_seam,
    official_spec=OFFICIAL_SEAM,
    official_state=lambda state, path: official_seam_state(state),
)
"""Files of CAM networks."""


def save_seam(path: Path, net: SeamNet, spec: SeamSpec) -> None:
    """Write weights and specification to ``path``; see `write_model`."""
    write_model(path, SEAM_KIND, net, spec)


def load_seam(path: Path, *, modules: Collection[str] = ()) -> tuple[SeamNet, SeamSpec]:
    """Read a model file, ours or an official SEAM ``.pth``; see `read_model`.

    Args:
        path: the file.
        modules: parts of the user's own that may be imported, as ``package.module:Class``.

    Returns:
        The network in evaluation mode, and its specification.

    Raises:
        WeightsError: missing, cut off, not a model, or of another network.
        PartError: the file names a part that is not in ``modules``, or that can't be used.
    """
    return read_model(path, replace(SEAM_KIND, build=partial(build_seam, modules=modules)))


def load_backbone(path: Path) -> Backbone:
    """Read the backbone in a ``model.safetensors``; a part of the user's own isn't imported.

    Returns:
        The backbone in evaluation mode.

    Raises:
        WeightsError: missing, cut off, not a model, or of another network.
    """
    net = build_seam(replace(read_spec(path, SEAM_KIND), pcm=False))
    load_into(net, load_state(path), where=path, allow_unexpected=("pcm.",))
    return net.eval().backbone
