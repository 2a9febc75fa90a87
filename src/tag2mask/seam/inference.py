"""Multi-scale maps of photos: every scale and mirror image, views of equal size computed together.

Published protocol (Wang et al., CVPR 2020, and its code): scales .5, 1, 1.5, 2 of the photo's own
size, each with its mirror image, maps resized to the photo, summed, scaled per class to [0, 1]. The
default differs where that costs accuracy or time: view sides are rounded to the backbone's
``size_multiple`` (elsewhere a network with asymmetric padding is not equivariant to flips), maps
are resized once, and summed on a grid coarser than the photo's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tag2mask.maps.cam_map import map_grid
from tag2mask.nn.batch_padding import BatchPadding
from tag2mask.runtime.session import explain_out_of_memory, share_of_threads
from tag2mask.runtime.threads import MAX_THREADS, SMALL_PIXELS, ordered_map
from tag2mask.seam.network import SeamNet, SeamOutput

T = TypeVar("T")

EPSILON = 1e-5
SUM_STRIDE = 4
"""Photo pixels per cell of the grid on which views are summed and scaled, at whatever stride the
result is stored: a class's maximum depends on how finely it is looked for, and with it every score.
"""
CPU_BATCH_PIXELS = 220_000
"""A CPU computes larger batches no faster: their maps outgrow its caches."""


@dataclass(frozen=True)
class InferenceSettings:
    """How a photo's maps are computed.

    Attributes:
        scales: of the base size.
        flip: each scale with its mirror image too.
        long_side: long side of scale 1, px; None: the photo's own.
        branch: refined or plain map.
        gate_pcm: only the photo's own classes enter PCM.
        map_stride: photo pixels per cell of the maps returned.
        batch_views: views computed at once; fewer where the CPU is faster so.
        published: the published protocol to the letter.
    """

    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    flip: bool = True
    long_side: int | None = None
    branch: Literal["refined", "plain"] = "refined"
    gate_pcm: bool = True
    map_stride: int = 4
    batch_views: int = 8
    published: bool = False


@dataclass(frozen=True)
class Maps:
    """Maps of one photo.

    Attributes:
        tags: k tag ids.
        scores: float32 (k, h, w), scaled per class; in [0, 1], but for ``published`` at stride 1.
        probabilities: float32 (C,) of the classifier.
    """

    tags: tuple[int, ...]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class MultiScaleInference:
    """Computes maps of photos with a trained network.

    Args:
        net: in evaluation mode, on ``device``.
        settings: see `InferenceSettings`.
        device: where the network is.
        autocast: makes a context for mixed precision, which the arithmetic after the network leaves
            in float32.
    """

    def __init__(
        self,
        net: SeamNet,
        settings: InferenceSettings,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        assert settings.branch == "plain" or net.pcm is not None, "refined maps need PCM"
        self.net = net
        self.settings = settings
        self.device = device
        self.autocast = autocast
        self.fill = BatchPadding(device, settings.batch_views)
        self.photo_by_photo = device.type == "cpu"
        backbone = net.backbone
        self.mean = torch.tensor(backbone.mean, device=device)[:, None, None]
        self.std = torch.tensor(backbone.std, device=device)[:, None, None]
        self.multiple = 1 if settings.published else backbone.size_multiple

    def largest_view(self, size: tuple[int, int]) -> int:
        """Long side, px, of the largest view of a photo of a size (h, w)."""
        return max(max(self._view_size(size, scale)) for scale in (1.0, *self.settings.scales))

    def probabilities(
        self, photos: Sequence[Image.Image], sizes: Sequence[tuple[int, int]] | None = None
    ) -> NDArray[np.float32]:
        """Tag probabilities (n, C) at scale 1, averaged over the mirror images; see `maps`."""
        sizes = sizes or _sizes(photos)
        if not self.photo_by_photo:
            return self._probabilities(photos, sizes)
        found = self._each(lambda i: self._probabilities([photos[i]], [sizes[i]]), sizes, [1.0])
        return np.concatenate(found)

    @torch.inference_mode()
    def _probabilities(
        self, photos: Sequence[Image.Image], sizes: Sequence[tuple[int, int]]
    ) -> NDArray[np.float32]:
        logits = _Sums(len(photos))
        with self.autocast():
            for indices, images, _ in self._batches(photos, sizes, [1.0]):
                pair = self._forward(images, None)
                for row, index in enumerate(indices):
                    logits.add(index, pair.logits[row])
        return torch.sigmoid(torch.stack(logits.means())).cpu().numpy()

    def maps(
        self,
        photos: Sequence[Image.Image],
        tags: Sequence[tuple[int, ...]],
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Maps]:
        """Maps of the given classes of each photo.

        On a CPU each thread computes a photo by itself, as small convolutions keep several threads
        waiting for each other; photos with large views one at a time with all threads, which bounds
        the memory.

        Args:
            photos: upright RGB.
            tags: tag ids of each photo.
            sizes: (h, w) of each photo, where some were decoded at less than that but no less than
                `largest_view` says; views and maps are those of the whole photo. None: as they are.
        """
        sizes = sizes or _sizes(photos)
        if not self.photo_by_photo:
            return self._maps(photos, tags, sizes)
        return self._each(
            lambda i: self._maps([photos[i]], [tags[i]], [sizes[i]])[0], sizes, self.settings.scales
        )

    def _each(
        self, work: Callable[[int], T], sizes: Sequence[tuple[int, int]], scales: Sequence[float]
    ) -> list[T]:
        """``work(index)`` of each photo, by index; see `maps`."""
        largest = [self._view_size(size, max(scales)) for size in sizes]
        small = [i for i, (height, width) in enumerate(largest) if height * width <= SMALL_PIXELS]
        threads = torch.get_num_threads()
        callers = max(1, min(threads, MAX_THREADS, len(small)))

        def shared(index: int) -> T:
            with share_of_threads(threads, callers):
                return work(index)

        found = dict(zip(small, ordered_map(shared, small, callers), strict=True))
        return [found[i] if i in found else work(i) for i in range(len(sizes))]

    @torch.inference_mode()
    def _maps(
        self,
        photos: Sequence[Image.Image],
        tags: Sequence[tuple[int, ...]],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Maps]:
        sums, logits = _Sums(len(photos)), _Sums(len(photos))
        scales = self.settings.scales
        reference_scale = min(scales, key=lambda scale: abs(scale - 1.0))
        with self.autocast():
            for indices, images, views in self._batches(photos, sizes, scales):
                pair = self._forward(images, [tags[index] for index in indices])
                maps = pair.cam if self.settings.branch == "plain" else pair.refined
                assert maps is not None
                for row, (index, (scale, flipped)) in enumerate(zip(indices, views, strict=True)):
                    if scale == reference_scale:
                        logits.add(index, pair.logits[row])
                    if tags[index]:
                        chosen = maps[row : row + 1, [tag + 1 for tag in tags[index]]].float()
                        chosen = chosen.flip(3) if flipped else chosen
                        sums.add(
                            index,
                            F.interpolate(
                                chosen,
                                self._grid(sizes[index]),
                                mode="bilinear",
                                align_corners=False,
                            )[0],
                        )
        return [
            Maps(
                tags[index],
                self._scaled(sums.total(index), size),
                torch.sigmoid(logits.mean(index)).cpu().numpy(),
            )
            for index, size in enumerate(sizes)
        ]

    def _forward(self, images: Tensor, tags: Sequence[tuple[int, ...]] | None) -> SeamOutput:
        count = len(images)
        images = self.fill(images)
        present = None
        if tags is not None and self.settings.gate_pcm:
            present = torch.zeros(len(images), self.net.num_classes, device=self.device)
            for row, photo_tags in enumerate(tags):
                present[row, list(photo_tags)] = 1.0
        fewer = "runtime.threads" if self.photo_by_photo else "infer_cam.batch_views"
        with explain_out_of_memory(fewer, "infer_cam.long_side"):
            pair: SeamOutput = self.net(
                images,
                tags=present,
                own_grid=not self.settings.published,
                pool_on_grid=not self.settings.published,
            )
        return pair.first(count)

    def _batches(
        self,
        photos: Sequence[Image.Image],
        sizes: Sequence[tuple[int, int]],
        scales: Sequence[float],
    ) -> Iterator[tuple[list[int], Tensor, list[tuple[float, bool]]]]:
        """(photo indices, images, (scale, flipped) of each): views of one size together."""
        by_size: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for index, whole in enumerate(sizes):
            for scale in scales:
                by_size.setdefault(self._view_size(whole, scale), []).append((index, scale))
        for size, wanted in by_size.items():
            views = self._views(photos, wanted, size)
            while part := list(islice(views, self._views_at_once(size))):
                images = torch.stack([image for _, _, image in part])
                yield [index for index, _, _ in part], images, [view for _, view, _ in part]

    def _views(
        self,
        photos: Sequence[Image.Image],
        wanted: Sequence[tuple[int, float]],
        size: tuple[int, int],
    ) -> Iterator[tuple[int, tuple[float, bool], Tensor]]:
        """(photo index, (scale, flipped), image) of views of one size (h, w).

        Photos are resized ahead in other threads, so that a GPU needn't wait for them; large ones
        and those for a CPU one by one.
        """

        def resized(item: tuple[int, float]) -> tuple[int, float, NDArray[np.uint8]]:
            return *item, _resized(photos[item[0]], (size[1], size[0]))

        ahead = self.device.type != "cpu" and size[0] * size[1] <= SMALL_PIXELS
        with closing(ordered_map(resized, wanted, None if ahead else 1)) as views:
            for index, scale, pixels in views:
                image = self._normalized(pixels)
                yield index, (scale, False), image
                if self.settings.flip:
                    yield index, (scale, True), image.flip(2)

    def _views_at_once(self, size: tuple[int, int]) -> int:
        """Views of a size (h, w) to compute together."""
        most = self.settings.batch_views
        if self.device.type == "cpu":
            most = min(most, CPU_BATCH_PIXELS // (size[0] * size[1]))
        return max(1, most)

    def _view_size(self, size: tuple[int, int], scale: float) -> tuple[int, int]:
        """(h, w) of a view of a photo of a size (h, w)."""
        base = 1.0 if self.settings.long_side is None else self.settings.long_side / max(size)
        multiple = self.multiple
        rounded = [max(1, round(side * base * scale / multiple)) * multiple for side in size]
        return rounded[0], rounded[1]

    def _normalized(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(3, h, w), normalized, on the device."""
        view = torch.from_numpy(pixels).to(self.device)
        return (view.permute(2, 0, 1).float() / 255 - self.mean) / self.std

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the sums; published: the photo's own size."""
        return map_grid(*size, 1 if self.settings.published else SUM_STRIDE)

    def _scaled(self, total: Tensor | None, size: tuple[int, int]) -> NDArray[np.float32]:
        """Scale each class by its own minimum and maximum, and go to the grid that is stored."""
        grid = map_grid(*size, self.settings.map_stride)
        if total is None:
            return np.zeros((0, *grid), dtype=np.float32)
        scaled = scale_maps(total, clip=not self.settings.published)
        if tuple(scaled.shape[1:]) != grid:
            scaled = F.interpolate(
                scaled[None].clamp(0, 1), grid, mode="bilinear", align_corners=False
            )[0]
        return scaled.cpu().numpy()


def _resized(photo: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A photo at a size (w, h), uint8 (h, w, 3), in memory of its own."""
    resized = photo if photo.size == size else photo.resize(size, Image.Resampling.BICUBIC)
    return np.array(resized)


def _sizes(photos: Sequence[Image.Image]) -> list[tuple[int, int]]:
    return [(photo.height, photo.width) for photo in photos]


def scale_maps(total: Tensor, *, clip: bool = True) -> Tensor:
    """Scale summed maps per class: negative -> 0, then by minimum and maximum.

    Args:
        total: (k, h, w).
        clip: keep the result in [0, 1]; the published code lets the lowest pixels of a class fall
            far below 0 where minimum and maximum nearly agree.
    """
    total = F.relu(total)
    low, high = total.amin(dim=(1, 2), keepdim=True), total.amax(dim=(1, 2), keepdim=True)
    total = torch.where(total < low + EPSILON, 0.0, total)
    scaled = (total - low - EPSILON) / (high - low + EPSILON)
    return scaled.clamp(0, 1) if clip else scaled


class _Sums:
    """Running sums of tensors, one a photo."""

    def __init__(self, photos: int) -> None:
        self._totals: list[Tensor | None] = [None] * photos
        self._counts = [0] * photos

    def add(self, index: int, value: Tensor) -> None:
        total = self._totals[index]
        self._totals[index] = value.float() if total is None else total + value
        self._counts[index] += 1

    def total(self, index: int) -> Tensor | None:
        return self._totals[index]

    def mean(self, index: int) -> Tensor:
        total = self._totals[index]
        assert total is not None
        return total / self._counts[index]

    def means(self) -> list[Tensor]:
        return [self.mean(index) for index in range(len(self._totals))]
