"""The network: probabilities of a photo's views, of all of it or of overlapping tiles."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tag2mask.segmentation.standalone.maps import Blender, Labels, Span, resize, scaled
from tag2mask.segmentation.standalone.photos import Array, Size

KEY, FORMAT = "tag2mask_segmenter", 2
"""Key and format of the record in the metadata of ``model.onnx``."""


class Network:
    """The network of ``model.onnx``, used as its record says."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(file, options, providers=providers)
        self.record = json.loads(self._session.get_modelmeta().custom_metadata_map[KEY])
        if self.record["format"] != FORMAT:
            raise ValueError(f"format {self.record['format']}, not {FORMAT}: export again")
        self.settings, std = self.record["predict"], np.array(self.record["std"])
        self._scale_by = (1 / (255 * std)).astype(np.float32)
        self._shift_by = (np.array(self.record["mean"]) / std).astype(np.float32)

    def grid(self, size: Size) -> Size:
        """Return the size (h, w) that a photo is labeled at."""
        side = self.settings["long_side"]
        return size if side is None else scaled(size, side / max(size))

    def needed(self, size: Size) -> int:
        """Return the smallest long side, px, at which a photo of size (h, w) may be decoded."""
        return max(max(scaled(self.grid(size), scale)) for scale in self.settings["scales"])

    def is_tiled(self, size: Size) -> bool:
        """Return whether a photo of size (h, w) is labeled in tiles."""
        side = -(-self.needed(size) // self._multiple) * self._multiple
        return side > int(self.settings["tile"])

    @property
    def _multiple(self) -> int:
        return int(self.record["size_multiple"])

    def _run(self, view: Array) -> Array:
        """Return the probabilities (k, h, w) of an image uint8 (h, w, 3)."""
        height, width = view.shape[:2]
        padded = [-(-side // self._multiple) * self._multiple for side in (height, width)]
        image = np.zeros((*padded, 3), np.float32)
        image[:height, :width] = view * self._scale_by - self._shift_by
        feed = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)[None])}
        maps = self._session.run(["logits"], feed)[0]
        maps -= maps.max(axis=1, keepdims=True)
        np.exp(maps, out=maps)
        maps /= maps.sum(axis=1, keepdims=True)
        return maps[0][:, :height, :width]

    def mean(self, views: Sequence[Array], grid: Size) -> Array:
        """Return the mean probabilities (k, *grid) of a photo's views."""
        published = self.settings["behavior"] == "published"
        total: Array = None
        flips = (False, True) if self.settings["flip"] else (False,)
        for view, flip in product(views, flips):
            maps = self._run(view[:, ::-1] if flip else view)
            maps = maps[:, :, ::-1] if flip else maps
            if published:
                maps = np.log(np.maximum(maps, np.finfo(np.float32).tiny))
            found = resize(maps, grid, corners=published)
            total = found if total is None else total + found
        count = len(views) * len(flips)
        mean = total if count == 1 else total * np.float32(1 / count)
        if not published:
            return mean
        powers = np.exp(mean - mean.max(axis=0))
        return powers / powers.sum(axis=0)

    def spans(self, length: int) -> list[Span]:
        """Cut an axis of the grid into tiles."""
        multiple = self._multiple
        side = int(self.settings["tile"] / max(1.0, *self.settings["scales"])) // multiple
        side = max(side, 2) * multiple
        most = side // multiple // 2
        overlap = min(math.ceil(self.settings["overlap"] / multiple), most) * multiple
        begins, found = range(0, max(length - overlap, 1), side - overlap), []
        for begin in begins:
            last, end = begin == begins[-1], begin + side
            first = max(0, -(-length // multiple) * multiple - side) if last else begin
            own, end = (length, length) if last else (end - overlap, end)
            found.append(Span(first, begin, own, end, overlap if begin else 0))
        return found

    def label(
        self, photo: Image.Image, size: Size, pool: ThreadPoolExecutor | None, confidence: bool
    ) -> Labels:
        """Label a photo of size (h, w); in tiles, which ``pool`` computes, where it is large."""
        grid, scales = self.grid(size), self.settings["scales"]
        labels = Labels(size, grid, confidence)
        if not self.is_tiled(size):
            views = [photo_pixels(photo, scaled(grid, scale)) for scale in scales]
            labels.write(self.mean(views, grid), 0, 0)
            return labels
        rows, columns = self.spans(grid[0]), self.spans(grid[1])
        tiles = list(product(rows, columns))
        blender: Blender | None = None
        down, over = photo.height / grid[0], photo.width / grid[1]

        def compute(tile: tuple[Span, Span]) -> Array:
            row, column = tile
            part = row.end - row.first, column.end - column.first
            right = min(column.end * over, photo.width)
            box = (column.first * over, row.first * down, right, min(row.end * down, photo.height))
            maps = self.mean([photo_pixels(photo, scaled(part, s), box) for s in scales], part)
            return maps[:, row.begin - row.first :, column.begin - column.first :]

        assert pool is not None
        for first in range(0, len(tiles), 8):
            block = tiles[first : first + 8]
            for (row, column), maps in zip(block, pool.map(compute, block), strict=True):
                blender = blender or Blender(len(maps), rows, columns)
                labels.write(*blender.add(maps.copy(), row, column))
        return labels


def photo_pixels(photo: Image.Image, size: Size, box: Any = None) -> Array:
    """Return a photo, or the part in a box, resized to uint8 (*size, 3)."""
    return np.asarray(photo.resize((size[1], size[0]), Image.Resampling.BICUBIC, box))
