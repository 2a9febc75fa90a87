"""The views of photos for multi-scale inference: scaled, mirrored, in batches of equal size.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581). ``VOC12ClsDatasetMSF`` in the authors'
``voc12/data.py`` (https://github.com/YudeWang/SEAM) makes the views: the photo resized to each
scale (PIL, bicubic), and its mirror image. Here views of equal size, also of different photos,
share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tag2mask.nn.photo_input import PhotoInput, Size, resized
from tag2mask.runtime.threads import SMALL_PIXELS, ordered_map

CPU_BATCH_PIXELS = 220_000
"""Pixels per batch above which a CPU gets slower, as the maps outgrow its caches."""


@dataclass(frozen=True)
class ViewBatch:
    """Views of one size.

    Attributes:
        photos: index of each view's photo.
        images: normalized, (b, 3, h, w), on the device.
        scales: scale of each view.
        mirrored: whether each view is mirrored.
    """

    photos: list[int]
    images: Tensor
    scales: list[float]
    mirrored: list[bool]


@dataclass(frozen=True)
class _ScaledView:
    photo: int
    image: Tensor
    scale: float
    mirrored: bool


class ScaledViews:
    """Makes the views of photos.

    Args:
        mean: channel means of the backbone's input.
        std: channel standard deviations of the backbone's input.
        long_side: long side of scale 1, px; None: the photo's own (published).
        size_multiple: sides are rounded to the nearest multiple of this (published: 1).
        flip: also make each view's mirror image.
        batch_views: largest batch; a CPU gets smaller batches where that is faster.
        device: where the images go.

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> from tag2mask.seam.scaled_views import ScaledViews
        >>> views = ScaledViews(
        ...     mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), long_side=None, size_multiple=1,
        ...     flip=True, batch_views=8, device=torch.device("cpu"),
        ... )
        >>> photos = [Image.new("RGB", (8, 6)), Image.new("RGB", (16, 12))]
        >>> batches = views.batches(photos, [(6, 8), (12, 16)], scales=[1.0, 2.0])
        >>> [(tuple(batch.images.shape), batch.photos) for batch in batches]
        [((2, 3, 6, 8), [0, 0]), ((4, 3, 12, 16), [0, 0, 1, 1]), ((2, 3, 24, 32), [1, 1])]
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        long_side: int | None,
        size_multiple: int,
        flip: bool,
        batch_views: int,
        device: torch.device,
    ) -> None:
        self.input = PhotoInput(mean, std, device, long_side=long_side, multiple=size_multiple)
        self.flip = flip
        self.batch_views = batch_views

    def size(self, photo_size: Size, scale: float) -> Size:
        """Return the (h, w) of a view of a photo of size (h, w)."""
        # Not `PhotoInput.view_size`: the order of the factors decides where a side rounds to.
        long_side, multiple = self.input.long_side, self.input.multiple
        base = 1.0 if long_side is None else long_side / max(photo_size)
        rounded = [max(1, round(side * base * scale / multiple)) * multiple for side in photo_size]
        return rounded[0], rounded[1]

    def batches(
        self, photos: Sequence[Image.Image], sizes: Sequence[Size], scales: Sequence[float]
    ) -> Iterator[ViewBatch]:
        """Yield all views of photos, one size after the other.

        Args:
            photos: upright RGB.
            sizes: (h, w) of each photo at full size; it may have been decoded at a smaller one.
            scales: scales of the views.
        """
        by_size: dict[Size, list[tuple[int, float]]] = {}
        for index, photo_size in enumerate(sizes):
            for scale in scales:
                by_size.setdefault(self.size(photo_size, scale), []).append((index, scale))
        for size, requests in by_size.items():
            views = self._views(photos, requests, size)
            while batch := list(islice(views, self._batch_size(size))):
                yield ViewBatch(
                    [view.photo for view in batch],
                    torch.stack([view.image for view in batch]),
                    [view.scale for view in batch],
                    [view.mirrored for view in batch],
                )

    def _views(
        self, photos: Sequence[Image.Image], requests: Sequence[tuple[int, float]], size: Size
    ) -> Iterator[_ScaledView]:
        """Yield the views of one size (h, w) for (photo index, scale) requests.

        For a GPU, photos are resized ahead in other threads, so that it need not wait. Large photos
        and those for a CPU are resized one at a time.
        """

        def resized_view(request: tuple[int, float]) -> tuple[int, float, NDArray[np.uint8]]:
            return *request, resized(photos[request[0]], size)

        ahead = self.input.device.type != "cpu" and size[0] * size[1] <= SMALL_PIXELS
        with closing(ordered_map(resized_view, requests, None if ahead else 1)) as results:
            for index, scale, pixels in results:
                image = self.input.normalized(pixels)
                yield _ScaledView(index, image, scale, mirrored=False)
                if self.flip:
                    yield _ScaledView(index, image.flip(2), scale, mirrored=True)

    def _batch_size(self, size: Size) -> int:
        """Return the largest batch of views of a size (h, w)."""
        limit = self.batch_views
        if self.input.device.type == "cpu":
            limit = min(limit, CPU_BATCH_PIXELS // (size[0] * size[1]))
        return max(1, limit)
