"""Maps and their valid cells on grids of different strides.

Padding must not leak into a photo: a map that is enlarged mixes neighboring cells, so cells on
padding are left out of the mixture here, not only out of what is computed from it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int] | torch.Size


def resize(maps: Tensor, size: Size, valid: Tensor | None = None) -> Tensor:
    """Resize maps, bilinear, align_corners=True (published).

    Args:
        maps: (b, c, h, w).
        size: (h', w') of the result.
        valid: bool (b, H, W) at any resolution, False on padding; given, each result is the
            weighted mean of the valid cells that it is interpolated from, 0 where there is none.
            None: all valid.

    Returns:
        (b, c, h', w'), differentiable; ``maps`` itself where the size is unchanged.
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    if valid is None:
        return _interpolated(maps, size)
    inside = cells_inside(valid, maps.shape[2:])[:, None].to(maps.dtype)
    # In half precision the reciprocal of less is infinite.
    least = max(1e-6, torch.finfo(maps.dtype).tiny)
    weight = _interpolated(inside, size).clamp(min=least)
    return _interpolated(maps * inside, size) * weight.reciprocal()


def cells_inside(valid: Tensor, size: Size) -> Tensor:
    """Cells of another grid that count as valid: those of which more than half is.

    A photo too small for one such cell keeps the cells that it fills most.

    Args:
        valid: bool (b, H, W).
        size: (h, w) of the grid.

    Returns:
        bool (b, h, w).
    """
    if tuple(valid.shape[1:]) == tuple(size):
        return valid
    share = F.adaptive_avg_pool2d(valid[:, None].float(), (size[0], size[1]))[:, 0]
    most = share.amax(dim=(1, 2), keepdim=True)
    inside: Tensor = (share > 0.5) | ((most <= 0.5) & (share > 0) & (share == most))
    return inside


def global_average(maps: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of each channel over (valid) positions.

    Args:
        maps: (b, c, h, w).
        valid: bool (b, h, w); None: all valid.

    Returns:
        (b, c) float32; 0 where no position is valid.
    """
    maps = maps.float()
    if valid is None:
        return maps.mean(dim=(2, 3))
    weights = valid[:, None].float()
    return (maps * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=1)


def resized_average(maps: Tensor, size: Size, valid: Tensor | None = None) -> Tensor:
    """`global_average` of what `resize` gives, without resizing where nothing is padded.

    Resizing and averaging are linear, and separable: each cell has a weight by its row and column.

    Args:
        maps: (b, c, h, w).
        size: (h', w') to average at.
        valid: bool (b, H, W) at any resolution; None: all valid.

    Returns:
        (b, c) float32.
    """
    if valid is not None:
        return global_average(resize(maps, size, valid), cells_inside(valid, size))
    if tuple(maps.shape[2:]) == tuple(size):
        return global_average(maps)
    rows, columns = (
        F.interpolate(
            torch.eye(before, device=maps.device)[None], after, mode="linear", align_corners=True
        ).mean(dim=2)[0]
        for before, after in zip(maps.shape[2:], size, strict=True)
    )
    return (maps.float() * rows[:, None] * columns).sum(dim=(2, 3))


def _interpolated(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=True)
