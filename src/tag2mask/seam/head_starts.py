"""Several starts of a CAM head on frozen features, and one head from the best of them.

Where logits are pooled from the best cells, a linear head learns a class from a shallow map or not
at all, and its first weights decide which. So heads with different first weights are trained side
by side, and tags of photos that none of them has seen show which ones have learned a class. Among
those the tags don't tell which one places the objects best; the mean of their directions is as good
as the best one, and varies less (docs/results/log.md, "small objects, several starts of the head").

With starts s, classes c and features f of a cell, standardized per channel::

    map[s, c] = W[s, c] · f,   logit[s, c] = mean of the best cells of map[s, c] + b[s, c]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.mean import Mean
from tag2mask.seam.network import SeamNet

FIRST_WEIGHTS = 0.02
"""Standard deviation of the first weights."""
WITHIN = 0.05
"""Heads whose average precision is at most this much below the best are averaged."""


class CellStatistics(NamedTuple):
    """Mean and variance of each channel over the cells of all photos, float32 (c,)."""

    mean: Tensor
    variance: Tensor


class HeadStarts(nn.Module):
    """Linear heads with different first weights, trained together; none changes another.

    Args:
        statistics: of the features; with these they are standardized, as `CellNorm` does it.
        num_classes: foreground classes C.
        starts: number of heads S.
        best_cells: number of cells of a map whose average is the logit.
        eps: added to the variance.

    Example:
        >>> import torch
        >>> from tag2mask.seam.head_starts import CellStatistics, HeadStarts
        >>> statistics = CellStatistics(torch.zeros(8), torch.ones(8))
        >>> heads = HeadStarts(statistics, num_classes=2, starts=3, best_cells=4, eps=1e-5)
        >>> heads.logits([torch.rand(8, 5, 7), torch.rand(8, 4, 4)]).shape
        torch.Size([2, 6])
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        statistics: CellStatistics,
        *,
        num_classes: int,
        starts: int,
        best_cells: int,
        eps: float,
    ) -> None:
        super().__init__()
        channels = len(statistics.mean)
        self.starts = starts
        self.best_cells = best_cells
        self.weight = nn.Parameter(FIRST_WEIGHTS * torch.randn(starts * num_classes, channels))
        self.bias = nn.Parameter(torch.zeros(starts * num_classes))
        self.register_buffer("mean", statistics.mean.clone())
        self.register_buffer("scale", (statistics.variance + eps).sqrt())

    def forward(self, features: Sequence[Tensor], tags: Tensor) -> dict[str, Mean]:
        """Compute the classification loss of all heads.

        Args:
            features: of each photo, (c, h, w), not standardized; sizes may differ.
            tags: 0/1 (b, C).
        """
        logits = self.logits(features)
        wanted = tags.repeat(1, self.starts)
        loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return {"cls": Mean(loss, loss.new_tensor(float(logits.numel())))}

    def logits(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits of photos, float32 (b, S * C), start by start."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return torch.stack([self._photo_logits(photo.float()) for photo in features])

    def _photo_logits(self, photo: Tensor) -> Tensor:
        """Return the logits (S * C,) of the features (c, h, w) of one photo.

        The best cells are found without a gradient, and their values computed again: the backward
        pass then takes a few cells of each map, not all.
        """
        cells = photo.flatten(1)  # (c, n)
        with torch.no_grad():
            maps = (self.weight / self.scale) @ cells  # (S * C, n), lower by a constant
            best = maps.topk(min(self.best_cells, maps.shape[1]), dim=1).indices
        chosen = (cells[:, best] - self.mean[:, None, None]) / self.scale[:, None, None]
        values = torch.einsum("kc,ckn->kn", self.weight, chosen)
        return values.mean(dim=1) + self.bias


class ChosenHead(NamedTuple):
    """One head of the heads that have learned each class.

    Attributes:
        weight: float32 (C, c), for standardized features.
        bias: float32 (C,).
        kept: how many heads each class is taken from, int64 (C,).
    """

    weight: Tensor
    bias: Tensor
    kept: Tensor


def mean_of_best(heads: HeadStarts, precision: Tensor) -> ChosenHead:
    """Average, per class, the directions of the heads whose average precision is near the best.

    The mean direction is multiplied by the mean norm of these heads, so that its logits are on
    their scale; the bias is their mean.

    Args:
        heads: trained.
        precision: average precision of each head, float64 (S, C) in [0, 1]; a class that is NaN is
            taken from all heads.
    """
    starts, classes = precision.shape
    weight = heads.weight.detach().reshape(starts, classes, -1)
    bias = heads.bias.detach().reshape(starts, classes)
    best = precision.amax(dim=0)  # NaN where any is
    near = (precision >= best - WITHIN) | best.isnan()
    share = near / near.sum(dim=0)  # (S, C)
    share = share.to(weight)
    norms = weight.norm(dim=2)
    directions = weight / norms.clamp(min=1e-12)[:, :, None]
    mean = (directions * share[:, :, None]).sum(dim=0)
    return ChosenHead(
        mean * (norms * share).sum(dim=0)[:, None],
        (bias * share).sum(dim=0),
        near.sum(dim=0),
    )


@torch.no_grad()
def set_head(net: SeamNet, head: ChosenHead, statistics: CellStatistics) -> None:
    """Give a network with centered features a head, and the statistics that center them.

    The background channel, which no loss has trained, is 0.
    """
    assert net.head_norm is not None and isinstance(net.head, nn.Conv2d)
    assert net.head.bias is not None
    net.head.weight.zero_()
    net.head.bias.zero_()
    net.head.weight[1:, :, 0, 0] = head.weight
    net.head.bias[1:] = head.bias
    assert net.head_norm.running_mean is not None and net.head_norm.running_var is not None
    net.head_norm.running_mean.copy_(statistics.mean)
    net.head_norm.running_var.copy_(statistics.variance)
