"""Photos through a segmentation network: views, tiles, CRF, labels.

A photo is resized to a working grid, shown at several scales and mirrored, and the probabilities
are averaged on that grid; labels are taken at the photo's size without floats of that size. Photos
whose views are larger than a tile go through tile by tile, in memory that holds few of them.

Left out: files, and which photos are worked on together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from PIL import Image

from tag2mask.classes import BACKGROUND, mask_id
from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
from tag2mask.runtime.threads import ordered_map
from tag2mask.segmentation.inference.label_canvas import Confidence, LabelCanvas, PhotoLabels
from tag2mask.segmentation.inference.label_loops import Float32, UInt8, resized, winners
from tag2mask.segmentation.inference.segmenter import (
    AveragedViews,
    GridBox,
    Segmenter,
    Size,
    pixels,
    size_of,
)
from tag2mask.segmentation.inference.tiles import MapBlock, TileBlender, TileSpan, tile_spans

__all__ = ["LabelingSettings", "PhotoLabeler", "PhotoLabels", "PhotoViews", "Segmenter"]

CRF_PIXELS = 1_000_000
"""The dense CRF sees a photo at its size, or shrunk to this many pixels."""

TILE_BYTES = 2**31
"""Of a large photo's tiles that are computed at once and wait, at most."""


@dataclass(frozen=True)
class LabelingSettings:
    """How photos are labeled.

    Attributes:
        long_side: of the working grid, px; None: the photo's own.
        scales: of the views, relative to the working grid.
        flip: show each view mirrored too.
        tile: views with a side longer than this are computed in tiles, px.
        overlap: of neighboring tiles, px; at most half a tile.
        batch_size: views given to a network at once that gains from it.
        crf: the dense CRF that sharpens probabilities; None: none.
        confidence: type of the confidences, uint8: 255 for 1; None: none wanted.
        probabilities: whether all probabilities are wanted.
    """

    long_side: int | None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    tile: int = 1024
    overlap: int = 128
    batch_size: int = 8
    crf: CrfSettings | None = None
    confidence: Confidence | None = None
    probabilities: bool = False


class PhotoViews(NamedTuple):
    """What is kept of a photo until its turn.

    Attributes:
        size: (H, W) of the photo.
        grid: (h, w) of the working grid.
        views: uint8 (h, w, 3) of each scale.
        crf_image: uint8 (h, w, 3), what the dense CRF sees.
        padded: (h, w) of each view as the network gets it; photos of equal ones go together.
    """

    size: Size
    grid: Size
    views: tuple[UInt8, ...]
    crf_image: UInt8 | None
    padded: tuple[Size, ...]


class PhotoLabeler:
    """Labels photos with a trained network. Safe to be used from several threads at once.

    Args:
        segmenter: the network.
        settings: see `LabelingSettings`.
    """

    def __init__(self, segmenter: Segmenter, settings: LabelingSettings) -> None:
        self.segmenter = segmenter
        self.settings = settings
        self._average = AveragedViews(segmenter, len(settings.scales), flip=settings.flip)

    @property
    def photos_at_once(self) -> int:
        """Photos that `label` is best given at once."""
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
        """Label one photo of any size, in tiles where it `is_tiled`.

        In tiles no map of the whole is made, unless probabilities are wanted.

        Args:
            photo: upright RGB.
            size: (H, W), where it was decoded at less than that but no less than `decode_at` says.
            tags: ids of the only classes that may win beside the background; None: all.
            progress: called with the number of finished tiles and that of all.

        Raises:
            DataError: the network's probabilities aren't finite.
            DeviceError: out of memory.
        """
        size = size or (photo.height, photo.width)
        if self.is_tiled(size):
            return self._label_in_tiles(photo, size, tags, progress)
        return self.label([self.views(photo, size)], [tags])[0]

    def decode_at(self, size: Size) -> int:
        """Long side, px, that a photo of a size (H, W) must be decoded at, at least."""
        sides = [max(self._view_size(self._grid(size), scale)) for scale in self.settings.scales]
        return max(*sides, max(self._crf_size(size)) if self.settings.crf is not None else 1)

    def is_tiled(self, size: Size) -> bool:
        """Whether a photo of a size (H, W) is too large to be computed as a whole."""
        return (
            max(
                max(self._average.padded(self._view_size(self._grid(size), scale)))
                for scale in self.settings.scales
            )
            > self.settings.tile
        )

    def views(self, photo: Image.Image, size: Size) -> PhotoViews:
        """Resize a photo to its views; ``size`` as for calling."""
        grid = self._grid(size)
        views = [pixels(photo, self._view_size(grid, scale)) for scale in self.settings.scales]
        crf_image = pixels(photo, self._crf_size(size)) if self.settings.crf is not None else None
        padded = tuple(self._average.padded(size_of(view)) for view in views)
        return PhotoViews(size, grid, tuple(views), crf_image, padded)

    def label(
        self, photos: Sequence[PhotoViews], tags: Sequence[Sequence[int] | None] | None = None
    ) -> list[PhotoLabels]:
        """Label photos whose padded views have the same sizes.

        Args:
            photos: none of them `is_tiled`.
            tags: as for calling, of each photo; None: all classes of all photos.

        Raises:
            DataError: the network's probabilities aren't finite.
            DeviceError: out of memory.
        """
        maps = self._average.mean(
            [photo.views for photo in photos], [photo.grid for photo in photos]
        )
        return [
            self._labeled(photo, maps, allowed)
            for photo, maps, allowed in zip(photos, maps, tags or [None] * len(photos), strict=True)
        ]

    def _label_in_tiles(
        self,
        photo: Image.Image,
        size: Size,
        tags: Sequence[int] | None,
        progress: Callable[[int, int], object],
    ) -> PhotoLabels:
        """Label one large photo, in tiles that fade into each other."""
        grid, ids = self._grid(size), _mask_ids(None, self._channels)
        rows, columns = self._spans(grid[0]), self._spans(grid[1])
        canvas = self._canvas(size, grid, grid)
        scores = TileBlender(self._channels, rows, columns)
        plain = TileBlender(self._channels, rows, columns) if self.settings.probabilities else None
        tiles = list(product(rows, columns))
        # Two tiles a thread may wait to be blended.
        fitting = TILE_BYTES // (2 * 4 * self._channels * self.settings.tile**2)
        computed = ordered_map(
            lambda tile: self._tile(photo, grid, *tile, tags),
            tiles,
            max(1, min(self.segmenter.caller_threads, fitting)),
        )
        for done, ((row, column), (tile, before)) in enumerate(
            zip(tiles, computed, strict=True), 1
        ):
            if plain is not None and before is not None:
                canvas.keep(plain.add(before, row, column))
            canvas.paint(scores.add(tile, row, column), ids)
            progress(done, len(tiles))
        return canvas.labeled

    def _labeled(self, photo: PhotoViews, maps: Float32, tags: Sequence[int] | None) -> PhotoLabels:
        """Labels from the probabilities (C+1, h, w) of the whole photo."""
        scores, ids = _gated(maps, tags)
        if photo.crf_image is not None:
            scores, ids = self._sharpened(scores, ids, photo.crf_image)
        canvas = self._canvas(photo.size, size_of(scores[0]), photo.grid)
        canvas.keep(MapBlock(maps, 0, 0))
        canvas.paint(MapBlock(scores, 0, 0), ids)
        return canvas.labeled

    def _tile(
        self,
        photo: Image.Image,
        grid: Size,
        row: TileSpan,
        column: TileSpan,
        tags: Sequence[int] | None,
    ) -> tuple[Float32, Float32 | None]:
        """What labels are taken of in one tile, float32 (C+1, h, w), and the probabilities."""
        part = GridBox(row.first, column.first, row.end, column.end)
        views = [
            pixels(photo, self._view_size(part.size, scale), part, grid)
            for scale in self.settings.scales
        ]
        maps = self._average.mean([views], [part.size])[0]
        scores, ids = _gated(maps, tags)
        if self.settings.crf is not None:
            scores, ids = self._sharpened(scores, ids, pixels(photo, part.size, part, grid))
        used = np.s_[:, row.begin - row.first :, column.begin - column.first :]
        tile = np.zeros(
            (self._channels, row.end - row.begin, column.end - column.begin), np.float32
        )
        tile[ids] = scores[used]
        return tile, maps[used].copy() if self.settings.probabilities else None

    def _sharpened(self, scores: Float32, ids: UInt8, image: UInt8) -> tuple[Float32, UInt8]:
        """Marginals and ids of the classes that win anywhere, by the dense CRF at its size."""
        winner = winners(scores)
        if winner is None:
            return scores, ids  # not finite, which the labels will say
        present = np.flatnonzero(np.bincount(winner.ravel(), minlength=len(ids)))
        if len(present) == 1:
            return np.ones((1, *size_of(image)), np.float32), ids[present]
        assert self.settings.crf is not None
        crf = DenseCrf(image, self.settings.crf)
        return crf.refine(resized(scores[present], size_of(image))), ids[present]

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
        """Tiles along an axis of the working grid, so large that no view exceeds ``tile``."""
        multiple, settings = self.segmenter.size_multiple, self.settings
        side = int(settings.tile / max(1.0, *settings.scales)) // multiple
        side = max(side, 2) * multiple
        overlap = min(math.ceil(settings.overlap / multiple), side // multiple // 2) * multiple
        return tile_spans(length, side, overlap, multiple)

    def _grid(self, size: Size) -> Size:
        """(h, w) of the working grid of a photo of a size (H, W)."""
        if self.settings.long_side is None:
            return size
        return self._view_size(size, self.settings.long_side / max(size))

    def _view_size(self, grid: Size, scale: float) -> Size:
        return max(1, round(grid[0] * scale)), max(1, round(grid[1] * scale))

    def _crf_size(self, size: Size) -> Size:
        """What the dense CRF sees of a photo of a size (H, W)."""
        return self._view_size(size, min(1.0, math.sqrt(CRF_PIXELS / (size[0] * size[1]))))


def _gated(maps: Float32, tags: Sequence[int] | None) -> tuple[Float32, UInt8]:
    """Probabilities of background and tags alone, summing to 1, and their mask ids."""
    ids = _mask_ids(tags, len(maps))
    if tags is None:
        return maps, ids
    scores = maps[ids]
    return scores / np.maximum(scores.sum(axis=0), np.finfo(np.float32).tiny), ids


def _mask_ids(tags: Sequence[int] | None, channels: int) -> UInt8:
    if tags is None:
        return np.arange(channels, dtype=np.uint8)
    return np.array([BACKGROUND, *(mask_id(tag) for tag in sorted(set(tags)))], np.uint8)
