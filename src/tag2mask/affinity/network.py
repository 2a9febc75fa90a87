"""AffinityNet: the semantic affinity of neighboring cells of a photo.

Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464), section 3.2. The authors' code is
``network/resnet38_aff.py`` of https://github.com/jiwoon-ahn/psa, which SEAM's repository copies.

The features f of a cell are those of three levels of a backbone, with [] a concatenation::

    f = ELU(θ_fuse [ELU(θ_low(conv4)), ELU(θ_mid(conv5)), ELU(θ_last(conv6))])   θ: 1x1 convolutions

and the affinity of cells i and j is exp(-mean |f_i - f_j|), the mean over channels. In ResNet-38
all three levels have stride 8, as published; in other backbones the coarser ones are resized to the
finest one's grid.

Affinities are computed only for pairs within a small radius (`tag2mask.affinity.pair_distance`).

The names of the authors' checkpoint map to ours: ``f8_3``, ``f8_4``, ``f8_5`` -> ``embed_low``,
``embed_mid``, ``embed_last``; ``f9`` -> ``fuse``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tag2mask.affinity.pair_distance import pair_distance
from tag2mask.affinity.pairs import existing_pairs, second_ends
from tag2mask.errors import WeightsError
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.nn.masked_resize import cells_inside, resize
from tag2mask.nn.model_file import ModelKind, Positive, read_model, write_model
from tag2mask.nn.official_checkpoints import official_affinity_state


@dataclass(frozen=True)
class AffinitySpec:
    """Architecture of an AffinityNet, without its weights.

    Attributes:
        backbone: ``resnet38`` or the name of a timm model.
        output_stride: of the backbone's last map.
        pcm_levels: strides of its two mid-level maps, finest first; None: chosen by stride.
        levels: embedding channels of the three levels, finest first.
        radius: radius of the pairs in training, in cells.
    """

    backbone: str
    output_stride: Positive
    pcm_levels: tuple[int, int] | None
    levels: tuple[Positive, Positive, Positive]
    radius: Annotated[int, Field(ge=1, le=100)]


OFFICIAL_AFFINITY = AffinitySpec(
    backbone="resnet38", output_stride=8, pcm_levels=None, levels=(64, 128, 256), radius=5
)
"""The published network, that of psa's ``resnet38_aff.pth``."""


class AffinityNet(nn.Module):
    """Features on any backbone, and the affinities of neighboring cells (section 3.2).

    Published: ResNet-38 at stride 8, radius 5, embeddings of 64, 128 and 256 channels.

    Args:
        backbone: gives two mid-level maps and the last one.
        levels: embedding channels of the three maps, finest first.

    Attributes:
        stride: image pixels per cell of the affinity's grid.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.network import AffinityNet
        >>> from tag2mask.nn.backbones.build import build_backbone
        >>> backbone = build_backbone("tf_efficientnet_lite0", weights="none", output_stride=16)
        >>> net = AffinityNet(backbone, levels=(64, 128, 256)).eval()
        >>> with torch.no_grad():
        ...     affinity = net(torch.rand(1, 3, 64, 96), radius=5)
        >>> affinity.shape  # 34 pairs per cell at stride 8
        torch.Size([1, 34, 8, 12])
    """

    def __init__(self, backbone: Backbone, *, levels: tuple[int, int, int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.stride = backbone.mid_strides[0]
        low, mid, last = backbone.channels
        self.embed_low = nn.Conv2d(low, levels[0], 1, bias=False)
        self.embed_mid = nn.Conv2d(mid, levels[1], 1, bias=False)
        self.embed_last = nn.Conv2d(last, levels[2], 1, bias=False)
        self.fuse = nn.Conv2d(sum(levels), sum(levels), 1, bias=False)
        # Initialized as in the authors' code.
        for embed in (self.embed_low, self.embed_mid, self.embed_last):
            nn.init.kaiming_normal_(embed.weight)
        nn.init.xavier_uniform_(self.fuse.weight, gain=4)

    def embed(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compute the features of each cell.

        Args:
            image: normalized, (b, 3, H, W).
            valid: bool (b, H, W), False on padding, which is excluded when coarser levels are
                resized (the convolutions see zeros there); None: all valid.

        Returns:
            (b, c, h, w) on the finest level's grid, at ``stride``.
        """
        low, mid, last = self.backbone(image)
        grid = low.shape[2:]
        levels = ((self.embed_low, low), (self.embed_mid, mid), (self.embed_last, last))
        embedded = [resize(F.elu(convolve(x)), grid, valid) for convolve, x in levels]
        # (b, 64, h, w), (b, 128, h, w), (b, 256, h, w) -> (b, 448, h, w)
        return F.elu(self.fuse(torch.cat(embedded, dim=1)))

    def forward(
        self, image: Tensor, *, radius: int, published: bool = False, valid: Tensor | None = None
    ) -> Tensor:
        """Compute the affinities of the pairs within a radius.

        Args:
            image: normalized, (b, 3, H, W).
            radius: radius of the pairs in cells; see `pair_offsets`.
            published: the authors' rule for pairs at the border; see `existing_pairs`.
            valid: bool (b, H, W); given, pairs with an end on padding have affinity 0.

        Returns:
            float32 (b, offsets, h, w) in [0, 1]; 0 where there is no pair.
        """
        features = self.embed(image, valid)
        inside = None if valid is None else cells_inside(valid, features.shape[2:])
        return pair_affinity(features, radius=radius, published=published, valid=inside)

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that are not pretrained: all but the backbone's."""
        new = (self.embed_low, self.embed_mid, self.embed_last, self.fuse)
        return [parameter for module in new for parameter in module.parameters()]


def pair_affinity(
    features: Tensor, *, radius: int, published: bool = False, valid: Tensor | None = None
) -> Tensor:
    """Compute the affinity exp(-mean |f_i - f_j|) of neighboring cells (section 3.2).

    Args:
        features: (b, c, h, w), differentiable.
        radius: radius of the pairs in cells; see `pair_offsets`.
        published: the authors' rule for pairs at the border; see `existing_pairs`.
        valid: bool (b, h, w) of the same grid, False on padding; None: all valid.

    Returns:
        float32 (b, offsets, h, w) in [0, 1]; 0 where there is no pair.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.network import pair_affinity
        >>> features = torch.tensor([0.0, 0.0, 2.0]).view(1, 1, 1, 3)
        >>> affinity = pair_affinity(features, radius=2)
        >>> affinity[0, 0].round(decimals=3)  # pairs with the cell to the right: 1, exp(-2), none
        tensor([[1.0000, 0.1350, 0.0000]])
    """
    size = (features.shape[2], features.shape[3])
    exist = torch.from_numpy(existing_pairs(size, radius, published=published)).to(features.device)
    if valid is not None:
        exist = exist & valid[:, None] & second_ends(valid, radius, outside=False)
    # Channels last, so that differences and their mean read memory in order.
    by_cell = features.float().permute(0, 2, 3, 1).contiguous()  # (b, h, w, c)
    distance = pair_distance(by_cell, radius)  # (b, offsets, h, w)
    return torch.exp(-distance) * exist


def build_affinity_net(spec: AffinitySpec, *, weights: str = "none") -> AffinityNet:
    """Build a network.

    Args:
        spec: its architecture.
        weights: of the backbone: ``packaged``, ``hub``, ``none`` or a file.

    Raises:
        RecipeError: unknown backbone, or a stride that it doesn't give.
        WeightsError: weights missing or of another network.
    """
    backbone = build_backbone(
        spec.backbone, weights=weights, output_stride=spec.output_stride, pcm_levels=spec.pcm_levels
    )
    return AffinityNet(backbone, levels=spec.levels)


def _official_state(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    if "fc8.weight" in state:
        raise WeightsError(
            "this is a CAM checkpoint, not an AffinityNet",
            where=path,
            fix="Give the AffinityNet's .pth, such as resnet38_aff.pth.",
        )
    return official_affinity_state(state)


AFFINITY_KIND = ModelKind(
    name="an AffinityNet",
    key="tag2mask_affinity",
    fix="Give a model.safetensors written by train-affinity, or an official AffinityNet .pth.",
    spec=AffinitySpec,
    build=build_affinity_net,
    official_spec=OFFICIAL_AFFINITY,
    official_state=_official_state,
)
"""Files of AffinityNets."""


def save_affinity_net(path: Path, net: AffinityNet, spec: AffinitySpec) -> None:
    """Write weights and specification to ``path``; see `write_model`."""
    write_model(path, AFFINITY_KIND, net, spec)


def load_affinity_net(path: Path) -> tuple[AffinityNet, AffinitySpec]:
    """Read a model file, ours or psa's ``.pth`` of ResNet-38; see `read_model`.

    Returns:
        The network in evaluation mode, and its specification.

    Raises:
        WeightsError: missing, cut off, not an AffinityNet (a CAM model is named as such).
    """
    return read_model(path, AFFINITY_KIND)
