"""The CAM network: backbone, CAM head and, for SEAM, the pixel correlation module.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3; its CAM head is
`tag2mask.seam.cam_head`. The authors' code is ``network/resnet38_SEAM.py`` of
https://github.com/YudeWang/SEAM.

The names of the authors' checkpoint map to ours: ``fc8`` -> ``head``, ``f8_3`` and ``f8_4`` ->
``pcm.embed_low`` and ``pcm.embed_mid``, ``f9`` -> ``pcm.fuse``.

In place of the CAM head, an `MdcHead` can be used, whose branches are classified separately.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.nn.masked_resize import cells_inside, resize
from tag2mask.nn.model_file import ModelKind, Positive, read_model, write_model
from tag2mask.nn.official_checkpoints import official_seam_state
from tag2mask.seam.cam_head import CamHead, Pooling, class_logits
from tag2mask.seam.mdc import PUBLISHED_RATES, MdcHead, localization_map
from tag2mask.seam.parts import PCM_PART, make_part
from tag2mask.seam.pcm import PUBLISHED_PCM, PcmSettings, PixelCorrelation, pcm_input


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


class SeamOutput(NamedTuple):
    """Output of the network for one view of a batch.

    Attributes:
        branch_logits: pooled foreground scores of each branch of the head, (b, n, C) float32; a
            CAM head has one.
        cam: plain maps, (b, C+1, h, w).
        refined: maps after PCM, of the same shape; None without PCM.
    """

    branch_logits: Tensor
    cam: Tensor
    refined: Tensor | None

    @property
    def logits(self) -> Tensor:
        """Class logits (b, C), the mean over the branches."""
        return self.branch_logits.mean(dim=1)

    def first(self, count: int) -> SeamOutput:
        """Return the output for the first ``count`` images of the batch."""
        return SeamOutput(
            self.branch_logits[:count],
            self.cam[:count],
            None if self.refined is None else self.refined[:count],
        )


class SeamNet(nn.Module):
    """CAM head and PCM on any backbone (SEAM, figure 2 and section 3.3).

    Published: `OFFICIAL_SEAM`, both maps resized to the input's size.

    Args:
        backbone: gives two mid-level maps and the last one.
        num_classes: foreground classes C.
        pcm: settings of PCM; None: no PCM and no refined maps.
        dropout: channel dropout in front of the head.
        pooling: how logits are taken from the maps (published: ``avg``).
        head: head of several branches; None: a CAM head.
        part: takes the place of PCM, see `tag2mask.seam.parts`; of ``pcm`` then only ``finest``
            counts.

    Example:
        >>> import torch
        >>> from tag2mask.nn.backbones.build import build_backbone
        >>> from tag2mask.seam.network import SeamNet
        >>> from tag2mask.seam.pcm import PUBLISHED_PCM
        >>> backbone = build_backbone("tf_efficientnet_lite0", weights="none", output_stride=16)
        >>> net = SeamNet(
        ...     backbone, num_classes=2, pcm=PUBLISHED_PCM, dropout=0.5, pooling="avg"
        ... ).eval()
        >>> with torch.no_grad():
        ...     output = net(torch.rand(1, 3, 64, 96))
        >>> output.logits.shape, output.cam.shape, output.refined.shape
        (torch.Size([1, 2]), torch.Size([1, 3, 64, 96]), torch.Size([1, 3, 64, 96]))
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        pcm: PcmSettings | None,
        dropout: float,
        pooling: Pooling,
        head: MdcHead | None = None,
        part: nn.Module | None = None,
    ) -> None:
        super().__init__()
        low, mid, last = backbone.channels
        self.backbone = backbone
        self.num_classes = num_classes
        self.dropout = nn.Dropout2d(dropout)
        self.pooling = pooling
        self.head = CamHead(last, num_classes) if head is None else head
        self.pcm_finest = pcm is not None and pcm.finest
        own = None if pcm is None or part is not None else PixelCorrelation(low, mid, pcm)
        self.pcm: nn.Module | None = part if own is None else own

    def forward(
        self,
        image: Tensor,
        *,
        valid: Tensor | None = None,
        tags: Tensor | None = None,
        channels: Tensor | None = None,
        map_size: tuple[int, int] | None = None,
        own_grid: bool = False,
        pool_on_grid: bool = False,
    ) -> SeamOutput:
        """Compute the maps of one view.

        Args:
            image: normalized, (b, 3, H, W).
            valid: bool (b, H, W), False on padding, which is excluded from pooling, PCM and
                resizing (the backbone's convolutions see zeros there). None: all valid
                (published).
            tags: 0/1 (b, C); given, absent classes do not enter PCM. None: all classes do
                (published).
            channels: int64 (b, k), the channels of each photo's maps to return; None: all. All
                channels are pooled, and all that ``tags`` admits take part in PCM.
            map_size: size of the returned maps; None: the image's (published).
            own_grid: return each map on the grid it was computed on, not resized.
            pool_on_grid: pool on the CAM's grid instead of at ``map_size`` (published), which saves
                a resize.

        Returns:
            Logits and maps resized to ``map_size`` (bilinear, align_corners=True).
        """
        size = map_size or (image.shape[2], image.shape[3])
        features = self.backbone(image)
        raw, branches = self._maps(features.last, valid)  # (b, C+1, h, w), (b, n, C+1, h, w)
        refined = None
        if self.pcm is not None:
            grid = features.low.shape[2:] if self.pcm_finest else raw.shape[2:]
            seeds = resize(raw.detach(), grid, valid)  # (b, C+1, *grid)
            inside = None if valid is None else cells_inside(valid, grid)
            refined = self.pcm(
                pcm_input(seeds, tags=tags, valid=inside),
                features.low,
                features.mid,
                image,
                valid=valid,
            )
            refined = _selected(refined, channels)  # (b, k, *grid)
            refined = refined if own_grid else resize(refined, size, valid)
        cam = _selected(raw, channels)  # (b, k, h, w)
        cam = cam if own_grid else resize(cam, size, valid)
        pooled_size = raw.shape[2:] if own_grid or pool_on_grid else size
        return SeamOutput(class_logits(branches, pooled_size, valid, self.pooling), cam, refined)

    def _maps(self, last: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the plain map (b, C+1, h, w) and the branches' maps (b, n, C+1, h, w)."""
        last = self.dropout(last)
        if not isinstance(self.head, MdcHead):
            cam = self.head(last)
            return cam, cam[:, None]
        if valid is not None:  # dilated convolutions would carry values in from the padding
            last = last * cells_inside(valid, last.shape[2:])[:, None]
        branches = self.head(last)
        return localization_map(branches), branches

    def class_layers(self) -> Sequence[nn.Module]:
        """Return the layers whose outputs are background and classes."""
        return list(self.head.classifiers) if isinstance(self.head, MdcHead) else [self.head]

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that are not pretrained: the head's and PCM's."""
        new = list(self.head.parameters())
        return new if self.pcm is None else new + list(self.pcm.parameters())


def _selected(maps: Tensor, channels: Tensor | None) -> Tensor:
    """Select each photo's own channels: (b, c, h, w) -> (b, k, h, w)."""
    if channels is None:
        return maps
    return maps.gather(1, channels[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
