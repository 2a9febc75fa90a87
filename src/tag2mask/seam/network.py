"""The CAM network: backbone, CAM head and, for SEAM, the pixel correlation module.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3; its CAM head is
`tag2mask.seam.cam_head`. The authors' code is ``network/resnet38_SEAM.py`` of
https://github.com/YudeWang/SEAM.

The names of the authors' checkpoint map to ours: ``fc8`` -> ``head``, ``f8_3`` and ``f8_4`` ->
``pcm.embed_low`` and ``pcm.embed_mid``, ``f9`` -> ``pcm.fuse``.

In place of the CAM head, an `MdcHead` can be used, whose branches are classified separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.masked_resize import cells_inside, resize
from tag2mask.seam.cam_head import CamHead, CellNorm, Pooling, class_logits
from tag2mask.seam.mdc import MdcHead, localization_map
from tag2mask.seam.pcm import PcmSettings, PixelCorrelation, pcm_input


class SeamOutput(NamedTuple):
    """Output of the network for one view of a batch.

    Attributes:
        branch_logits: pooled foreground scores of each branch of the head, (b, n, C) float32; a
            CAM head has one.
        cam: plain maps, (b, k, h, w): all k = C+1 channels, or those that were asked for.
        refined: maps after PCM, of the same shape; on the grids they were computed on, h and w may
            differ. None: PCM didn't run.
        features: the backbone's last map, (b, c, h', w'); None where maps were computed in tiles.
    """

    branch_logits: Tensor
    cam: Tensor
    refined: Tensor | None
    features: Tensor | None

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
            None if self.features is None else self.features[:count],
        )


class SeamNet(nn.Module):
    """CAM head and PCM on any backbone (SEAM, figure 2 and section 3.3).

    Published: `tag2mask.seam.model.OFFICIAL_SEAM`, both maps resized to the input's size.

    Args:
        backbone: gives two mid-level maps and the last one.
        num_classes: foreground classes C.
        pcm: settings of PCM; None: no PCM and no refined maps.
        dropout: channel dropout in front of the head.
        pooling: how logits are taken from the maps (published: ``avg``).
        centered: normalize the features over the training cells before the head, and give a CAM
            head a bias (published: False).
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
        ...     backbone,
        ...     num_classes=2,
        ...     pcm=PUBLISHED_PCM,
        ...     dropout=0.5,
        ...     pooling="avg",
        ...     centered=False,
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
        centered: bool,
        head: MdcHead | None = None,
        part: nn.Module | None = None,
    ) -> None:
        super().__init__()
        low, mid, last = backbone.channels
        self.backbone = backbone
        self.num_classes = num_classes
        self.dropout = nn.Dropout2d(dropout)
        self.pooling = pooling
        self.head_norm = CellNorm(last) if centered else None
        self.head = CamHead(last, num_classes, bias=centered) if head is None else head
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
        refine: bool = True,
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
            refine: whether PCM runs; False: there are no refined maps.

        Returns:
            Logits and maps resized to ``map_size`` (bilinear, align_corners=True).
        """
        size = map_size or (image.shape[2], image.shape[3])
        features = self.backbone(image)
        raw, branches = self._maps(features.last, valid)  # (b, C+1, h, w), (b, n, C+1, h, w)
        refined = None
        if self.pcm is not None and refine:
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
        logits = class_logits(branches, pooled_size, valid, self.pooling)
        return SeamOutput(logits, cam, refined, features.last)

    def _maps(self, last: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the plain map (b, C+1, h, w) and the branches' maps (b, n, C+1, h, w)."""
        last = last if self.head_norm is None else self.head_norm(last, valid)
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
