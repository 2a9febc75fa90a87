"""Sums of maps over the views of a photo, and their scaling to [0, 1] per class.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581); the authors' code is ``infer_SEAM.py`` of
https://github.com/YudeWang/SEAM.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-5


class RunningSums:
    """Running sums of tensors, one per photo."""

    def __init__(self, photos: int) -> None:
        self._totals: list[Tensor | None] = [None] * photos
        self._counts = [0] * photos

    def add(self, index: int, value: Tensor) -> None:
        """Add a tensor to a photo's sum; the first one sets its shape, in float32."""
        total = self._totals[index]
        self._totals[index] = value.float() if total is None else total + value
        self._counts[index] += 1

    def total(self, index: int) -> Tensor | None:
        """Return a photo's sum; None: nothing was added."""
        return self._totals[index]

    def mean(self, index: int) -> Tensor:
        """Return a photo's mean."""
        total = self._totals[index]
        assert total is not None
        return total / self._counts[index]

    def means(self) -> list[Tensor]:
        """Return the mean of each photo."""
        return [self.mean(index) for index in range(len(self._totals))]


def above_median(maps: Tensor) -> Tensor:
    """Subtract each map's median, the value of its background where objects are small.

    Where logits are pooled from the best cells, 0 of a map is where the classifier decides, and all
    of a map can lie below it although its object stands out.

    Args:
        maps: (k, h, w).

    Example:
        >>> import torch
        >>> from tag2mask.seam.map_sums import above_median
        >>> above_median(torch.tensor([[[-5.0, -5.0, -1.0]]]))
        tensor([[[0., 0., 4.]]])
    """
    return maps - maps.flatten(1).median(dim=1).values[:, None, None]


def scale_maps(total: Tensor, *, clip: bool = True) -> Tensor:
    """Scale summed maps per class by their minimum and maximum.

    Formula, with x = ReLU(total), and values of x below min(x) + 1e-5 set to 0::

        (x - min(x) - 1e-5) / (max(x) - min(x) + 1e-5)

    As in the authors' ``infer_SEAM.py``. There the lowest pixels of a class get values far below 0
    if its minimum and maximum are almost equal.

    Args:
        total: sum over the views, (k, h, w).
        clip: clip the result to [0, 1] (published: False).

    Returns:
        (k, h, w), of the same dtype.

    Example:
        >>> import torch
        >>> from tag2mask.seam.map_sums import scale_maps
        >>> scale_maps(torch.tensor([[[-1.0, 1.0, 2.0, 4.0]]])).round(decimals=2)
        tensor([[[0.0000, 0.2500, 0.5000, 1.0000]]])
    """
    total = F.relu(total)
    low, high = total.amin(dim=(1, 2), keepdim=True), total.amax(dim=(1, 2), keepdim=True)
    total = torch.where(total < low + EPSILON, 0.0, total)
    scaled = (total - low - EPSILON) / (high - low + EPSILON)
    return scaled.clamp(0, 1) if clip else scaled
