"""Multi-scale inference: the maps of photos with a trained network.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 4; the authors' code is
``infer_SEAM.py`` of https://github.com/YudeWang/SEAM.

Published: scales .5, 1, 1.5 and 2 of the photo's own size, each with its mirror image; the refined
maps are resized to the photo, summed, and scaled per class to [0, 1] (`scale_maps`). A background
threshold turns them into a mask (`tag2mask.maps.background_threshold`).

The default differs where that costs accuracy or time: view sides are rounded to the backbone's
``size_multiple`` (a network with asymmetric padding is not equivariant to flips at other sizes),
maps are resized once instead of twice, and they are summed on a coarser grid than the photo's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tag2mask.maps.cam_map import map_grid
from tag2mask.nn.backbones.attention import AttentionReader
from tag2mask.nn.batch_padding import BatchPadding
from tag2mask.runtime.memory import explain_out_of_memory
from tag2mask.runtime.threads import SMALL_PIXELS
from tag2mask.runtime.torch_threads import small_first_map
from tag2mask.seam.attention import spread_cam
from tag2mask.seam.map_sums import RunningSums, above_median, scale_maps
from tag2mask.seam.network import SeamNet, SeamOutput
from tag2mask.seam.scaled_views import ScaledViews, ViewBatch
from tag2mask.seam.tiled_maps import MapTiles, plain_maps_in_tiles

T = TypeVar("T")
Size = tuple[int, int]

SUM_STRIDE = 4
"""Photo pixels per cell of the grid on which views are summed and scaled, whatever the stride of
the stored maps. A class's maximum, and with it every score, depends on the resolution of this grid.
"""


@dataclass(frozen=True)
class InferenceSettings:
    """Settings of the inference.

    Attributes:
        scales: scales of the views.
        flip: add each view's mirror image.
        long_side: long side of scale 1, px; None: the photo's own.
        branch: refined maps, plain ones, or plain ones spread along the attention of a ViT.
        gate_pcm: only the photo's tags enter PCM; in the authors' code all classes do.
        map_stride: photo pixels per cell of the returned maps.
        batch_views: views per batch; a CPU gets smaller batches where that is faster.
        published: sizes, resizing, pooling and scaling as in the authors' code.
        tiles: size of the tiles of large views, for plain maps; None: no tiles (published).
    """

    scales: tuple[float, ...]
    flip: bool
    long_side: int | None
    branch: Literal["refined", "plain", "attention"]
    gate_pcm: bool
    map_stride: int
    batch_views: int
    published: bool
    tiles: MapTiles | None


PUBLISHED_INFERENCE = InferenceSettings(
    scales=(0.5, 1.0, 1.5, 2.0),
    flip=True,
    long_side=None,
    branch="refined",
    gate_pcm=False,
    map_stride=1,
    batch_views=8,
    published=True,
    tiles=None,
)


@dataclass(frozen=True)
class PhotoMaps:
    """Maps of one photo.

    Attributes:
        tags: k tag ids.
        scores: float32 (k, h, w), scaled per class, in [0, 1]; with ``published`` and stride 1,
            values below 0 occur.
        probabilities: float32 (C,), the classifier's, in [0, 1].
    """

    tags: tuple[int, ...]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class MultiScaleInference:
    """Computes maps of photos with a trained network.

    Args:
        net: in evaluation mode, on ``device``.
        settings: see `InferenceSettings`; published: `PUBLISHED_INFERENCE`.
        device: where the network is.
        autocast: returns a context for mixed precision; after the network all is float32.

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> from tag2mask.nn.backbones.build import build_backbone
        >>> from tag2mask.seam.multi_scale_inference import InferenceSettings, MultiScaleInference
        >>> from tag2mask.seam.network import SeamNet
        >>> from tag2mask.seam.pcm import PUBLISHED_PCM
        >>> backbone = build_backbone("tf_efficientnet_lite0", weights="none", output_stride=16)
        >>> settings = InferenceSettings(
        ...     scales=(0.5, 1.0), flip=True, long_side=64, branch="refined", gate_pcm=True,
        ...     map_stride=4, batch_views=8, published=False, tiles=None,
        ... )
        >>> net = SeamNet(
        ...     backbone,
        ...     num_classes=3,
        ...     pcm=PUBLISHED_PCM,
        ...     dropout=0.5,
        ...     pooling="avg",
        ...     centered=False,
        ... ).eval()
        >>> inference = MultiScaleInference(net, settings, torch.device("cpu"))
        >>> (maps,) = inference.maps([Image.new("RGB", (96, 64))], tags=[(0, 2)])
        >>> maps.scores.shape, maps.probabilities.shape
        ((2, 16, 24), (3,))
    """

    def __init__(
        self,
        net: SeamNet,
        settings: InferenceSettings,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        assert settings.branch != "refined" or net.pcm is not None, "refined maps need PCM"
        assert settings.tiles is None or not (settings.published or settings.branch != "plain")
        self.net = net
        self.settings = settings
        self.device = device
        self.autocast = autocast
        by_attention = settings.branch == "attention"
        self.attention = AttentionReader(net.backbone) if by_attention else None
        self.pad_batch = BatchPadding(device, settings.batch_views)
        self.photo_by_photo = device.type == "cpu"
        self.views = ScaledViews(
            mean=net.backbone.mean,
            std=net.backbone.std,
            long_side=settings.long_side,
            size_multiple=1 if settings.published else net.backbone.size_multiple,
            flip=settings.flip,
            batch_views=settings.batch_views,
            device=device,
        )

    def largest_view(self, size: Size) -> int:
        """Return the long side, px, of the largest view of a photo of size (h, w)."""
        return max(max(self.views.size(size, scale)) for scale in (1.0, *self.settings.scales))

    def probabilities(
        self, photos: Sequence[Image.Image], sizes: Sequence[Size] | None = None
    ) -> NDArray[np.float32]:
        """Return tag probabilities at scale 1, from the mean logits of view and mirror image.

        Args:
            photos: as for `maps`.
            sizes: as for `maps`.

        Returns:
            float32 (n, C) in [0, 1].
        """
        sizes = sizes or _sizes(photos)
        if not self.photo_by_photo:
            return self._probabilities(photos, sizes)
        rows = self._each(lambda i: self._probabilities([photos[i]], [sizes[i]]), sizes, [1.0])
        return np.concatenate(rows)

    @torch.inference_mode()
    def _probabilities(
        self, photos: Sequence[Image.Image], sizes: Sequence[Size]
    ) -> NDArray[np.float32]:
        logits = RunningSums(len(photos))
        with self.autocast():
            for batch in self.views.batches(photos, sizes, [1.0]):
                output = self._forward(batch.images, None)
                for row, index in enumerate(batch.photos):
                    logits.add(index, output.logits[row])
        return torch.sigmoid(torch.stack(logits.means())).cpu().numpy()

    def maps(
        self,
        photos: Sequence[Image.Image],
        tags: Sequence[tuple[int, ...]],
        sizes: Sequence[Size] | None = None,
    ) -> list[PhotoMaps]:
        """Compute the maps of the given classes of each photo.

        On a CPU each thread computes one photo, see `small_first_map`.

        Args:
            photos: upright RGB.
            tags: tag ids of each photo.
            sizes: full size (h, w) of each photo, if some were decoded at a smaller size (no
                smaller than `largest_view`); views and maps are those of the full size. None: the
                photos' sizes.

        Raises:
            DeviceError: the GPU ran out of memory.
        """
        sizes = sizes or _sizes(photos)
        if not self.photo_by_photo:
            return self._maps(photos, tags, sizes)
        return self._each(
            lambda i: self._maps([photos[i]], [tags[i]], [sizes[i]])[0], sizes, self.settings.scales
        )

    def _each(
        self, work: Callable[[int], T], sizes: Sequence[Size], scales: Sequence[float]
    ) -> list[T]:
        """Return ``work(index)`` for each photo, in order."""
        largest = [self.views.size(size, max(scales)) for size in sizes]

        def is_small(index: int) -> bool:
            return largest[index][0] * largest[index][1] <= SMALL_PIXELS

        results = dict(small_first_map(work, range(len(sizes)), is_small))
        return [results[index] for index in range(len(sizes))]

    @torch.inference_mode()
    def _maps(
        self,
        photos: Sequence[Image.Image],
        tags: Sequence[tuple[int, ...]],
        sizes: Sequence[Size],
    ) -> list[PhotoMaps]:
        sums, logits = RunningSums(len(photos)), RunningSums(len(photos))
        scales = self.settings.scales
        reference_scale = min(scales, key=lambda scale: abs(scale - 1.0))
        with self.autocast():
            for batch in self.views.batches(photos, sizes, scales):
                output = self._forward(batch.images, [tags[index] for index in batch.photos])
                for row, (index, scale) in enumerate(zip(batch.photos, batch.scales, strict=True)):
                    if scale == reference_scale:
                        logits.add(index, output.logits[row])
                    if tags[index]:
                        sums.add(index, self._view_maps(output, batch, row, tags[index], sizes))
        return [
            PhotoMaps(
                tags[index],
                self._scaled(sums.total(index), size),
                torch.sigmoid(logits.mean(index)).cpu().numpy(),
            )
            for index, size in enumerate(sizes)
        ]

    def _view_maps(
        self,
        output: SeamOutput,
        batch: ViewBatch,
        row: int,
        tags: tuple[int, ...],
        sizes: Sequence[Size],
    ) -> Tensor:
        """Return one view's maps of the tags, not mirrored, on the grid of the sums: (k, h, w)."""
        maps = output.cam if self.settings.branch == "plain" else output.refined
        assert maps is not None
        selected = maps[row : row + 1, [tag + 1 for tag in tags]].float()  # (1, k, h', w')
        if batch.mirrored[row]:
            selected = selected.flip(3)
        grid = self._grid(sizes[batch.photos[row]])
        return F.interpolate(selected, grid, mode="bilinear", align_corners=False)[0]

    def _forward(self, images: Tensor, tags: Sequence[tuple[int, ...]] | None) -> SeamOutput:
        """Run the network on a batch; ``tags`` of each image, None: only logits are needed."""
        count = len(images)
        images = self.pad_batch(images)
        present = None
        if tags is not None and self.settings.gate_pcm:
            present = torch.zeros(len(images), self.net.num_classes, device=self.device)
            for row, photo_tags in enumerate(tags):
                present[row, list(photo_tags)] = 1.0
        refine = self.settings.branch == "refined" and any(tags or ())
        setting = "runtime.threads" if self.photo_by_photo else "infer_cam.batch_views"
        with explain_out_of_memory(setting, "infer_cam.long_side"):
            output = self._output(images, present, refine=refine)
        return output.first(count)

    def _output(self, images: Tensor, present: Tensor | None, *, refine: bool) -> SeamOutput:
        tiles = self.settings.tiles
        if tiles is not None and max(images.shape[2:]) > tiles.side:
            return plain_maps_in_tiles(self.net, images, tiles)
        published = self.settings.published
        on_grid = not published or self.attention is not None
        reading: AbstractContextManager[list[Tensor]] = (
            nullcontext([]) if self.attention is None else self.attention.reading()
        )
        with reading as attentions:
            output: SeamOutput = self.net(
                images, tags=present, own_grid=on_grid, pool_on_grid=not published, refine=refine
            )
        if self.attention is None:
            return output
        return output._replace(refined=spread_cam(output.cam, attentions))

    def _grid(self, size: Size) -> Size:
        """Return the (h, w) of the sums; published: the photo's own size."""
        return map_grid(*size, 1 if self.settings.published else SUM_STRIDE)

    def _scaled(self, total: Tensor | None, size: Size) -> NDArray[np.float32]:
        """Scale the sums per class, and resize them to the grid of the returned maps."""
        grid = map_grid(*size, self.settings.map_stride)
        if total is None:
            return np.zeros((0, *grid), dtype=np.float32)
        if self.net.pooling != "avg":
            total = above_median(total)
        scaled = scale_maps(total, clip=not self.settings.published)
        if tuple(scaled.shape[1:]) != grid:
            scaled = F.interpolate(
                scaled[None].clamp(0, 1), grid, mode="bilinear", align_corners=False
            )[0]
        return scaled.cpu().numpy()


def _sizes(photos: Sequence[Image.Image]) -> list[Size]:
    return [(photo.height, photo.width) for photo in photos]
