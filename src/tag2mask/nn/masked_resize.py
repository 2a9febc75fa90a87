"""Resizing and averaging of maps with padding, between grids of different strides.

Interpolation mixes neighboring cells, so the values of padding would leak into the photo. Here
cells on padding have weight 0 in the interpolation itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int] | torch.Size


def resize(maps: Tensor, size: Size, valid: Tensor | None = None) -> Tensor:
    """Resize maps bilinearly with ``align_corners=True``, as the authors' code does.

    Args:
        maps: floating point, (b, c, h, w).
        size: (h', w') of the result.
        valid: bool (b, H, W) at any resolution, False on padding. Each result is then the weighted
            mean of the valid cells among those that it is interpolated from, and 0 if none of them
            is valid. None: all cells are valid.

    Returns:
        (b, c, h', w') of the same data type, differentiable; ``maps`` itself if the size is
        unchanged.
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    if valid is None:
        return _interpolated(maps, size)
    inside = cells_inside(valid, maps.shape[2:])[:, None].to(maps.dtype)
    # In half precision the reciprocal of a smaller number is infinite.
    least = max(1e-6, torch.finfo(maps.dtype).tiny)
    weight = _interpolated(inside, size).clamp(min=least)
    return _interpolated(maps * inside, size) * weight.reciprocal()


def cells_inside(valid: Tensor, size: Size) -> Tensor:
    """Return the valid cells of another grid: those that are more than half on the photo.

    If a photo is too small to have such a cell, the cells with the largest share of it are valid.

    Args:
        valid: bool (b, H, W), False on padding.
        size: (h, w) of the other grid.

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
    """Compute the mean of each channel over the valid positions.

    Args:
        maps: (b, c, h, w).
        valid: bool (b, h, w); None: all valid.

    Returns:
        float32 (b, c); 0 for an image without a valid position.
    """
    maps = maps.float()
    if valid is None:
        return maps.mean(dim=(2, 3))
    weights = valid[:, None].float()
    return (maps * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=1)


def resized_average(maps: Tensor, size: Size, valid: Tensor | None = None) -> Tensor:
    """Compute `global_average` of `resize`, without resizing if nothing is padded.

    Resizing and averaging are linear and separable, so each cell of ``maps`` has a weight that is
    the product of a weight of its row and one of its column.

    Args:
        maps: (b, c, h, w).
        size: (h', w') at which the mean is taken.
        valid: bool (b, H, W) at any resolution; None: all valid.

    Returns:
        float32 (b, c).
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
