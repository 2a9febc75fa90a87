"""Label photos of any size with a segmentation network: views, tiles, dense CRF, argmax.

A photo is resized to a working grid. The network sees it at several scales and flipped, and the
probabilities are averaged on the grid. Labels are computed at the photo's size without floating
point arrays of that size. Photos whose views are larger than a tile are processed in tiles, in
memory that holds only a few of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from tag2mask.maps.tiles import MapBlock, TileBlender, TileSpan, tile_spans
from tag2mask.runtime.threads import ordered_map
from tag2mask.segmentation.inference.label_canvas import Confidence, LabelCanvas, PhotoLabels
from tag2mask.segmentation.inference.label_loops import Float32, UInt8
from tag2mask.segmentation.inference.refinement import (
    apply_crf,
    crf_size,
    mask_ids,
    restrict_to_tags,
)
from tag2mask.segmentation.inference.segmenter import (
    AveragedViews,
    GridBox,
    Segmenter,
    Size,
    pixels,
    size_of,
)
from tag2mask.segmentation.standalone.maps import scaled

if TYPE_CHECKING:
    from tag2mask.crf.dense_crf import CrfSettings

TILE_BYTES = 2**31
"""Largest memory of the tiles of one photo that are computed or waiting at the same time."""


@dataclass(frozen=True)
class LabelingSettings:
    """How photos are labeled.

    Attributes:
        long_side: long side of the working grid, px; None: the photo's.
        scales: sizes of the views relative to the working grid.
        flip: whether each view is also used flipped horizontally.
        tile: views with a side longer than this are computed in tiles, px.
        overlap: overlap of neighboring tiles, px; at most half a tile.
        batch_size: views per batch, for networks that gain from batches (GPUs).
        crf: settings of the dense CRF that refines the probabilities; None: no CRF.
        confidence: data type of the confidences, ``uint8`` with 255 for 1; None: not returned.
        probabilities: whether the probabilities of all classes are returned.
        published: average and refine as the authors' code; see `AveragedViews` and `apply_crf`.
    """

    long_side: int | None
    scales: tuple[float, ...]
    flip: bool
    tile: int
    overlap: int
    batch_size: int
    crf: CrfSettings | None
    confidence: Confidence | None
    probabilities: bool
    published: bool


SINGLE_VIEW = LabelingSettings(
    long_side=None,
    scales=(1.0,),
    flip=False,
    tile=1024,
    overlap=128,
    batch_size=8,
    crf=None,
    confidence=None,
    probabilities=False,
    published=False,
)
"""Labels alone, of one view at the photo's size: the simplest settings, without a CRF."""


class PhotoViews(NamedTuple):
    """The resized views of a photo.

    Attributes:
        size: (H, W) of the photo.
        grid: (h, w) of the working grid.
        views: one image per scale, uint8 (h, w, 3).
        crf_image: image for the dense CRF, uint8 (h, w, 3); None: no CRF.
        padded: (h, w) of each view with padding; photos with equal ones can share a batch.
    """

    size: Size
    grid: Size
    views: tuple[UInt8, ...]
    crf_image: UInt8 | None
    padded: tuple[Size, ...]


class PhotoLabeler:
    """Labels photos with a trained network. Thread-safe.

    Args:
        segmenter: the network.
        settings: how photos are labeled.
    """

    def __init__(self, segmenter: Segmenter, settings: LabelingSettings) -> None:
        self.segmenter = segmenter
        self.settings = settings
        self._average = AveragedViews(
            segmenter, len(settings.scales), flip=settings.flip, published=settings.published
        )

    @property
    def photos_at_once(self) -> int:
        """Number of photos per call of `label` that fills a batch."""
        if not self.segmenter.batched:
            return 1
        return max(1, self.settings.batch_size // (2 if self.settings.flip else 1))

    def __call__(
        self,
        photo: Image.Image,
        size: Size | None = None,
        tags: Sequence[int] | None = None,
        progress: Callable[[int, int], object] = lambda done, of: None,
    ) -> PhotoLabels:
        """Label one photo of any size, in tiles if it `is_tiled`.

        In tiles, no probability map of the complete photo is stored unless it is requested.

        Args:
            photo: RGB, with its EXIF orientation applied.
            size: (H, W) of the photo if it was decoded at a smaller size (at least `decode_at`);
                None: its own size.
            tags: ids of the classes allowed as labels besides the background; None: all.
            progress: called with the numbers of finished and of all tiles.

        Raises:
            DataError: the network's probabilities are NaN.
            DeviceError: out of memory.
        """
        size = size or (photo.height, photo.width)
        if self.is_tiled(size):
            return self._label_in_tiles(photo, size, tags, progress)
        return self.label([self.views(photo, size)], [tags])[0]

    def decode_at(self, size: Size) -> int:
        """Return the smallest long side, px, at which a photo of size (H, W) may be decoded."""
        sides = [max(scaled(self._grid(size), scale)) for scale in self.settings.scales]
        return max(*sides, max(crf_size(size)) if self.settings.crf is not None else 1)

    def is_tiled(self, size: Size) -> bool:
        """Return whether a photo of size (H, W) is labeled in tiles."""
        return (
            max(
                max(self._average.padded(scaled(self._grid(size), scale)))
                for scale in self.settings.scales
            )
            > self.settings.tile
        )

    def views(self, photo: Image.Image, size: Size) -> PhotoViews:
        """Resize a photo to its views; ``size`` is the (H, W) of the labels."""
        grid = self._grid(size)
        views = [pixels(photo, scaled(grid, scale)) for scale in self.settings.scales]
        crf_image = pixels(photo, crf_size(size)) if self.settings.crf is not None else None
        padded = tuple(self._average.padded(size_of(view)) for view in views)
        return PhotoViews(size, grid, tuple(views), crf_image, padded)

    def label(
        self, photos: Sequence[PhotoViews], tags: Sequence[Sequence[int] | None] | None = None
    ) -> list[PhotoLabels]:
        """Label photos whose padded views have the same sizes.

        Args:
            photos: views of the photos; none of them `is_tiled`.
            tags: for each photo, ids of the classes allowed as labels besides the background, or
                None for all; None: all classes for all photos.

        Raises:
            DataError: the network's probabilities are NaN.
            DeviceError: out of memory.
        """
        maps = self._average.mean(
            [photo.views for photo in photos], [photo.grid for photo in photos]
        )
        return [
            self._take_labels(photo, maps, allowed)
            for photo, maps, allowed in zip(photos, maps, tags or [None] * len(photos), strict=True)
        ]

    def _label_in_tiles(
        self,
        photo: Image.Image,
        size: Size,
        tags: Sequence[int] | None,
        progress: Callable[[int, int], object],
    ) -> PhotoLabels:
        """Label one large photo in overlapping tiles that are blended."""
        grid, ids = self._grid(size), mask_ids(None, self._channels)
        rows, columns = self._spans(grid[0]), self._spans(grid[1])
        canvas = self._canvas(size, grid, grid)
        scores = TileBlender(self._channels, rows, columns)
        unrestricted = (
            TileBlender(self._channels, rows, columns) if self.settings.probabilities else None
        )
        tiles = list(product(rows, columns))
        # Each thread may have two tiles waiting to be blended.
        fitting = TILE_BYTES // (2 * 4 * self._channels * self.settings.tile**2)
        computed = ordered_map(
            lambda tile: self._tile(photo, grid, *tile, tags),
            tiles,
            max(1, min(self.segmenter.caller_threads, fitting)),
        )
        for done, ((row, column), (tile, probabilities)) in enumerate(
            zip(tiles, computed, strict=True), 1
        ):
            if unrestricted is not None and probabilities is not None:
                canvas.write_probabilities(unrestricted.add(probabilities, row, column))
            canvas.write_labels(scores.add(tile, row, column), ids)
            progress(done, len(tiles))
        return canvas.result

    def _take_labels(
        self, photo: PhotoViews, maps: Float32, tags: Sequence[int] | None
    ) -> PhotoLabels:
        """Take the labels from the probabilities (C+1, h, w) of the complete photo."""
        settings = self.settings
        scores, ids = restrict_to_tags(maps, tags)
        if photo.crf_image is not None and settings.crf is not None:
            scores, ids = apply_crf(
                scores, ids, photo.crf_image, settings.crf, all_classes=settings.published
            )
        canvas = self._canvas(photo.size, size_of(scores[0]), photo.grid)
        canvas.write_probabilities(MapBlock(maps, 0, 0))
        canvas.write_labels(MapBlock(scores, 0, 0), ids)
        return canvas.result

    def _tile(
        self,
        photo: Image.Image,
        grid: Size,
        row: TileSpan,
        column: TileSpan,
        tags: Sequence[int] | None,
    ) -> tuple[Float32, Float32 | None]:
        """Return the scores (C+1, h, w) that give a tile's labels, and its probabilities."""
        part = GridBox(row.first, column.first, row.end, column.end)
        settings = self.settings
        views = [pixels(photo, scaled(part.size, scale), part, grid) for scale in settings.scales]
        maps = self._average.mean([views], [part.size])[0]
        scores, ids = restrict_to_tags(maps, tags)
        if settings.crf is not None:
            image = pixels(photo, part.size, part, grid)
            scores, ids = apply_crf(
                scores, ids, image, settings.crf, all_classes=settings.published
            )
        used = np.s_[:, row.begin - row.first :, column.begin - column.first :]
        tile = np.zeros(
            (self._channels, row.end - row.begin, column.end - column.begin), np.float32
        )
        tile[ids] = scores[used]
        return tile, maps[used].copy() if settings.probabilities else None

    @property
    def _channels(self) -> int:
        return len(self.segmenter.classes) + 1

    def _canvas(self, size: Size, cells: Size, grid: Size) -> LabelCanvas:
        settings = self.settings
        return LabelCanvas(
            size,
            cells,
            confidence=settings.confidence,
            probabilities=(self._channels, *grid) if settings.probabilities else None,
        )

    def _spans(self, length: int) -> list[TileSpan]:
        """Cut an axis of the working grid into tiles, none of whose views exceeds ``tile``."""
        multiple, settings = self.segmenter.size_multiple, self.settings
        side = int(settings.tile / max(1.0, *settings.scales)) // multiple
        side = max(side, 2) * multiple
        overlap = min(math.ceil(settings.overlap / multiple), side // multiple // 2) * multiple
        return tile_spans(length, side, overlap, multiple)

    def _grid(self, size: Size) -> Size:
        """Return (h, w) of the working grid of a photo of size (H, W)."""
        if self.settings.long_side is None:
            return size
        return scaled(size, self.settings.long_side / max(size))
