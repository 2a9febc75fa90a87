"""Affinities of photos with a trained network, and maps on their grid.

Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464), section 3.3. The authors' code is
``infer_aff.py`` of https://github.com/jiwoon-ahn/psa, and SEAM's copy of it.

Published: the photo at its own size and the maps with their background are padded with zeros to a
multiple of the stride; the maps are averaged over the cells, walk (`tag2mask.affinity.random_walk`)
and are resized bilinearly to the photo. The default does not pad: sides are rounded to the
backbone's ``size_multiple``, as when CAMs are computed, and the affinity may be the mean over
several scales.

Affinities are separate from the walk, as one affinity serves any background, β and number of steps.
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
from tag2mask.affinity.random_walk import DenseWalk, RandomWalk, Walk
from tag2mask.maps.background_threshold import with_background
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.nn.photo_input import PhotoInput, Size
from tag2mask.nn.weights import check_finite_weights
from tag2mask.runtime.memory import explain_out_of_memory


@dataclass(frozen=True, eq=False)
class PhotoAffinity:
    """The affinities of one photo and the grid of their cells.

    Attributes:
        affinity: float32 (offsets, h, w) in [0, 1], see `tag2mask.affinity.pairs`; of all pairs of
            cells: (h · w, h · w), symmetric, >= 0.
        radius: radius of the pairs; smaller than configured if the grid is small. None: all pairs.
        size: (H, W) of the photo as the network saw it, px, without padding.
        stride: px per cell.
    """

    affinity: Tensor
    radius: int | None
    size: Size
    stride: int

    @property
    def grid(self) -> Size:
        """(h, w) in cells."""
        return -(-self.size[0] // self.stride), -(-self.size[1] // self.stride)

    def walk(self, beta: float) -> Walk:
        """Return the random walk along the affinities.

        Args:
            beta: exponent of the affinities; those of all pairs are taken as they are.
        """
        if self.radius is None:
            return DenseWalk(self.affinity, self.grid)
        return RandomWalk(self.affinity, radius=self.radius, beta=beta)

    def to_grid(self, scores: NDArray[np.float32], alpha: float) -> Tensor:
        """Prepend the background map (1 - max)^α to foreground maps, and average over the cells.

        Args:
            scores: float32 (k, h', w') in [0, 1], maps of the photo at any resolution.
            alpha: > 0; larger values give a weaker background.

        Returns:
            float32 (k+1, h, w), background first, on the affinity's device.
        """
        sized = np.zeros((0, *self.size), np.float32)
        if len(scores):
            sized = _resized(torch.from_numpy(scores), self.size).clamp(0, 1).numpy()
        maps = torch.from_numpy(with_background(sized, alpha)).to(self.affinity.device)
        bottom, right = (
            cells * self.stride - side for cells, side in zip(self.grid, self.size, strict=True)
        )
        return F.avg_pool2d(F.pad(maps, (0, right, 0, bottom)), self.stride)

    def from_grid(self, cells: Tensor, size: Size) -> NDArray[np.float32]:
        """Resize maps of the grid to another size of the photo.

        Args:
            cells: (k, h, w).
            size: (h', w') of the result, px.

        Returns:
            float32 (k, h', w').
        """
        padded_size = (self.grid[0] * self.stride, self.grid[1] * self.stride)
        photo = _resized(cells, padded_size)[:, : self.size[0], : self.size[1]]
        resized: NDArray[np.float32] = _resized(photo, size).cpu().numpy()
        return resized


class AffinityInference:
    """Computes affinities of photos with a trained AffinityNet.

    Args:
        net: in evaluation mode, on ``device``.
        device: where the network is.
        radius: radius of the pairs in cells.
        long_side: the photo's long side at scale 1, px; None: its own (published).
        scales: scales at which affinities are computed; their mean is used, on the grid of scale 1
            (published: 1 only).
        published: pad to a multiple of the stride, and the authors' rules for the radius and for
            pairs at the border.
        autocast: returns a context for mixed precision.
    """

    def __init__(
        self,
        net: AffinityNet,
        device: torch.device,
        *,
        radius: int,
        long_side: int | None,
        scales: Sequence[float],
        published: bool,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        assert scales and not (published and tuple(scales) != (1.0,)), scales
        self.net = net
        self.radius = radius
        self.scales = scales
        self.published = published
        self.autocast = autocast
        self.input = PhotoInput(
            net.backbone.mean,
            net.backbone.std,
            device,
            long_side=long_side,
            multiple=1 if published else net.backbone.size_multiple,
        )

    @torch.no_grad()
    def affinity(self, photo: Image.Image) -> PhotoAffinity:
        """Compute the affinities of an upright RGB photo.

        Raises:
            DeviceError: the GPU ran out of memory.
        """
        stride = self.net.stride
        size = self.input.view_size((photo.height, photo.width), 1.0)
        grid = (-(-size[0] // stride), -(-size[1] // stride))
        radius = usable_radius(grid, self.radius, published=self.published)
        total: Tensor | None = None
        for scale in self.scales:
            view = self.input.view_size((photo.height, photo.width), scale)
            features = self._features(photo, view)  # (1, c, h', w')
            if tuple(features.shape[2:]) != grid:
                features = F.interpolate(
                    features, grid, mode="bilinear", align_corners=False, antialias=True
                )
            # (offsets, h, w)
            affinity = pair_affinity(features, radius=radius, published=self.published)[0]
            total = affinity if total is None else total + affinity
        assert total is not None
        return PhotoAffinity(total / len(self.scales), radius, size, stride)

    def _features(self, photo: Image.Image, size: Size) -> Tensor:
        """Return the features (1, c, h, w) of the photo at a size, padded to full cells."""
        stride = self.net.stride
        bottom, right = (-side % stride for side in size)
        image = F.pad(self.input.image(photo, size), (0, right, 0, bottom))[None]
        with self.autocast(), explain_out_of_memory("walk.long_side", "walk.scales"):
            features: Tensor = self.net.embed(image)
        return features.float()


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
    """Return `AffinityInference` with the network of a model file.

    Args:
        path: the model file.
        device: where to run.
        radius: radius of the pairs in cells; None: that of the training.
        long_side: see `AffinityInference`.
        scales: see `AffinityInference`.
        published: see `AffinityInference`.
        autocast: see `AffinityInference`.

    Raises:
        WeightsError: unreadable model, or weights that are not finite.
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
    """Resize maps (k, h, w) bilinearly, antialiased where they shrink."""
    if tuple(maps.shape[1:]) == size:
        return maps
    shrinks = size[0] < maps.shape[1] or size[1] < maps.shape[2]
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False, antialias=shrinks)[
        0
    ]
