"""The CAM head: the class activation maps and the logits of one classifier.

CAM: Zhou et al., CVPR 2016 (https://arxiv.org/abs/1512.04150), section 2; as SEAM uses it: Wang et
al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3.

The head is a 1x1 convolution of the backbone's last map x to C + 1 channels::

    cam = W · dropout(x),   logits = global average of cam

Pooling comes after the 1x1 convolution, so the output of the convolution is the CAM, without the
step from classifier weights to maps. The classification loss does not see background channel 0.

An object of a single cell hardly moves the average of thousands. Its logit may therefore be pooled
from the best cells alone, as in multiple-instance learning: the best one (Oquab et al., "Is object
localization for free?", CVPR 2015) or the average of a few. The features are then centered first:
after a ReLU they have a mean far above 0, and without a bias a cell's value is mostly that of the
mean, which the best cells of photos with and without the object share.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tag2mask.nn.masked_resize import Size, cells_inside, resized_average

Pooling = Literal["avg", "max", "top"]
"""How a class's logit is taken from its map: the average, the best cell, the best few cells."""
TOP_CELLS = 4
"""Number of cells whose average ``top`` is."""


class CamHead(nn.Conv2d):
    """A 1x1 convolution, whose output is the CAM.

    Args:
        inputs: channels of the backbone's last map.
        num_classes: foreground classes C.
        bias: add a bias per class and start near 0 (published: False): of several classes more are
            learned from their best cells if these aren't chosen by large random weights.

    Example:
        >>> import torch
        >>> from tag2mask.seam.cam_head import CamHead
        >>> CamHead(16, num_classes=2)(torch.rand(1, 16, 5, 5)).shape
        torch.Size([1, 3, 5, 5])
    """

    def __init__(self, inputs: int, num_classes: int, *, bias: bool = False) -> None:
        super().__init__(inputs, num_classes + 1, 1, bias=bias)
        if self.bias is None:
            nn.init.xavier_uniform_(self.weight)
        else:
            nn.init.normal_(self.weight, std=0.02)
            nn.init.zeros_(self.bias)


class CellNorm(nn.BatchNorm1d):
    """A batch norm over the cells of maps that leaves out the padding.

    It has no weights of its own: the bias of the head behind it decides, one per class.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)

    def forward(self, maps: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalize each channel.

        Args:
            maps: (b, c, h, w).
            valid: bool (b, H, W) at any resolution, False on padding, which is left out of the
                statistics and becomes 0. None: all valid.

        Returns:
            (b, c, h, w).
        """
        if valid is None:
            return super().forward(maps.flatten(2)).view_as(maps)
        inside = cells_inside(valid, maps.shape[2:])
        cells = maps.movedim(1, 3)  # (b, h, w, c)
        normalized = super().forward(cells[inside])
        result = normalized.new_zeros(cells.shape)
        result[inside] = normalized
        return result.movedim(3, 1)


def class_logits(
    branches: Tensor, size: Size, valid: Tensor | None, pooling: Pooling = "avg"
) -> Tensor:
    """Pool the maps of the foreground classes: the logits of each branch of a head.

    Args:
        branches: (b, n, C+1, h, w), not rectified.
        size: (h', w') at which the average is taken; published: the image's. The best cells are
            always those of the CAM itself.
        valid: bool (b, H, W), False on padding, which is left out. None: all valid.
        pooling: published: ``avg``.

    Returns:
        float32 (b, n, C).
    """
    foreground = branches[:, :, 1:]  # (b, n, C, h, w)
    maps = foreground.flatten(1, 2)
    if pooling == "avg":
        logits = resized_average(maps, size, valid)
    else:
        logits = best_cells_average(maps, best_cells(pooling), valid)
    return logits.reshape(foreground.shape[:3])


def best_cells(pooling: Pooling) -> int:
    """Return the number of cells that ``max`` or ``top`` averages."""
    return 1 if pooling == "max" else TOP_CELLS


def best_cells_average(maps: Tensor, count: int, valid: Tensor | None = None) -> Tensor:
    """Average the highest cells of each channel.

    Args:
        maps: (b, c, h, w).
        count: number of cells; of smaller maps all.
        valid: bool (b, H, W) at any resolution, False on padding, which is left out.

    Returns:
        float32 (b, c); 0 for an image without a valid cell.

    Example:
        >>> import torch
        >>> from tag2mask.seam.cam_head import best_cells_average
        >>> best_cells_average(torch.tensor([[[[1.0, 5.0, 3.0]]]]), 2)
        tensor([[4.]])
    """
    cells = maps.float().flatten(2)  # (b, c, h * w)
    if valid is not None:
        inside = cells_inside(valid, maps.shape[2:]).flatten(1)[:, None]
        cells = cells.masked_fill(~inside, -torch.inf)
    best = cells.topk(min(count, cells.shape[2]), dim=2).values
    used = best != -torch.inf
    return torch.where(used, best, 0.0).sum(dim=2) / used.sum(dim=2).clamp(min=1)
