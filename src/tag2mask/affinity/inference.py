"""Affinities of a photo, and maps brought onto their grid and back.

Published (Ahn and Kwak, CVPR 2018, and the code): the photo at its own size and the maps with their
background are padded with zeros to a multiple of the stride, maps are averaged over cells, walked,
and enlarged bilinearly. The default pads nothing: sides are rounded to the backbone's
``size_multiple``, as for the maps themselves, and the affinity may be the mean over several scales.

Affinities and walk are apart on purpose: one affinity serves any background, β and number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tag2mask.affinity.network import AffinityNet, load_affinity_net, pair_affinity
from tag2mask.affinity.pairs import usable_radius
from tag2mask.maps.background import with_background
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.nn.weights import check_finite_weights
from tag2mask.runtime.session import explain_out_of_memory

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PhotoAffinity:
    """The affinities of one photo, and where their cells lie on it.

    Attributes:
        affinity: float32 (offsets, h, w), see `pixel_pairs`.
        radius: of its pairs; smaller than wanted where the grid is small.
        size: (H, W) of the photo as the network saw it, px, without padding.
        stride: px per cell.
    """

    affinity: Tensor
    radius: int
    size: Size
    stride: int

    @property
    def grid(self) -> Size:
        """(h, w) in cells."""
        return self.affinity.shape[1], self.affinity.shape[2]

    def cells(self, scores: NDArray[np.float32], alpha: float) -> Tensor:
        """Foreground maps with their background (1 - max)^α, averaged over the cells.

        Args:
            scores: float32 (k, h', w') in [0, 1] of the photo at any resolution.
            alpha: > 0; the larger, the weaker the background.

        Returns:
            float32 (k+1, h, w), background first, on the affinity's device.
        """
        sized = np.zeros((0, *self.size), np.float32)
        if len(scores):
            sized = _resized(torch.from_numpy(scores), self.size).clamp(0, 1).numpy()
        maps = torch.from_numpy(with_background(sized, alpha)).to(self.affinity.device)
        below, beside = (
            cells * self.stride - side for cells, side in zip(self.grid, self.size, strict=True)
        )
        return F.avg_pool2d(F.pad(maps, (0, beside, 0, below)), self.stride)

    def enlarged(self, cells: Tensor, size: Size) -> NDArray[np.float32]:
        """Maps (k, h, w) of the grid at another size of the photo, float32 (k, *size)."""
        whole = (self.grid[0] * self.stride, self.grid[1] * self.stride)
        enlarged = _resized(cells, whole)[:, : self.size[0], : self.size[1]]
        found: NDArray[np.float32] = _resized(enlarged, size).cpu().numpy()
        return found


class AffinityInference:
    """Computes affinities of photos with a trained AffinityNet.

    Args:
        net: in evaluation mode, on ``device``.
        device: where the network is.
        radius: of the pairs.
        long_side: of the photo at scale 1, px; None: its own.
        scales: at which affinities are computed; their mean is used, on the grid of scale 1.
        published: the published protocol, at scale 1.
        autocast: makes a context for mixed precision.
    """

    def __init__(
        self,
        net: AffinityNet,
        device: torch.device,
        *,
        radius: int,
        long_side: int | None = None,
        scales: Sequence[float] = (1.0,),
        published: bool = False,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        assert scales and not (published and tuple(scales) != (1.0,)), scales
        self.net = net
        self.device = device
        self.radius = radius
        self.long_side = long_side
        self.scales = scales
        self.published = published
        self.autocast = autocast
        self.multiple = 1 if published else net.backbone.size_multiple
        self.mean = torch.tensor(net.backbone.mean, device=device)[:, None, None]
        self.std = torch.tensor(net.backbone.std, device=device)[:, None, None]

    @torch.no_grad()
    def affinity(self, photo: Image.Image) -> PhotoAffinity:
        """Affinities of an upright RGB photo."""
        stride = self.net.stride
        size = self._size(photo, 1.0)
        grid = (-(-size[0] // stride), -(-size[1] // stride))
        radius = usable_radius(grid, self.radius, published=self.published)
        total: Tensor | None = None
        for scale in self.scales:
            features = self._features(photo, self._size(photo, scale))
            if tuple(features.shape[2:]) != grid:
                features = F.interpolate(
                    features, grid, mode="bilinear", align_corners=False, antialias=True
                )
            affinity = pair_affinity(features, radius=radius, published=self.published)[0]
            total = affinity if total is None else total + affinity
        assert total is not None
        return PhotoAffinity(total / len(self.scales), radius, size, stride)

    def _features(self, photo: Image.Image, size: Size) -> Tensor:
        """Embedding (1, c, h, w) of the photo at a size, padded to whole cells."""
        stride = self.net.stride
        below, beside = (-side % stride for side in size)
        image = F.pad(self._image(photo, size), (0, beside, 0, below))[None]
        with self.autocast(), explain_out_of_memory("walk.long_side", "walk.scales"):
            features: Tensor = self.net.embed(image)
        return features.float()

    def _image(self, photo: Image.Image, size: Size) -> Tensor:
        """(3, *size), normalized, on the device."""
        wanted = (size[1], size[0])
        resized = photo if photo.size == wanted else photo.resize(wanted, Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(resized).copy()).to(self.device)
        return (pixels.permute(2, 0, 1).float() / 255 - self.mean) / self.std

    def _size(self, photo: Image.Image, scale: float) -> Size:
        """(H, W) of the photo at a scale."""
        if self.long_side is not None:
            scale *= self.long_side / max(photo.size)
        height, width = (
            max(1, round(side * scale / self.multiple)) * self.multiple
            for side in (photo.height, photo.width)
        )
        return height, width


def load_affinity_inference(
    path: Path,
    device: torch.device,
    *,
    radius: int | None,
    long_side: int | None,
    scales: Sequence[float],
    published: bool,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> AffinityInference:
    """`AffinityInference` with the network of a model file.

    Args:
        path: the file.
        device: where to run.
        radius: of the pairs; None: that of the training.
        long_side: see `AffinityInference`, as the rest.
        scales: likewise.
        published: likewise.
        autocast: likewise.

    Raises:
        WeightsError: the model can't be read, or isn't finite.
    """
    net, spec = load_affinity_net(path)
    check_finite_weights(net, where=path, setting="train_affinity.optimizer.lr")
    return AffinityInference(
        inference_copy(net, device),
        device,
        radius=radius or spec.radius,
        long_side=long_side,
        scales=scales,
        published=published,
        autocast=autocast,
    )


def _resized(maps: Tensor, size: Size) -> Tensor:
    """Maps (k, h, w) at another size, bilinear, averaged where they shrink."""
    if tuple(maps.shape[1:]) == size:
        return maps
    shrinks = size[0] < maps.shape[1] or size[1] < maps.shape[2]
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False, antialias=shrinks)[
        0
    ]
