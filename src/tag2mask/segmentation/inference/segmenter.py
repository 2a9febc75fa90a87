"""Photos through a segmentation network, whatever runs it: views in, averaged probabilities out.

`Segmenter` is all that is asked of a network. Nothing here imports torch: a network exported to
ONNX is used without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.runtime.compiled import compiled
from tag2mask.segmentation.inference.label_loops import Float32, UInt8, resized

ChannelValues = tuple[float, float, float]
Size = tuple[int, int]


class Segmenter(Protocol):
    """A trained segmentation network, in evaluation mode."""

    @property
    def classes(self) -> ClassSet:
        """The foreground classes (C)."""

    @property
    def mean(self) -> ChannelValues:
        """Of red, green and blue in [0, 1], subtracted from an image."""

    @property
    def std(self) -> ChannelValues:
        """Of red, green and blue, by which an image is then divided."""

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of it, px."""

    @property
    def long_side(self) -> int:
        """The photo's long side at scale 1 when it was trained, px."""

    @property
    def caller_threads(self) -> int:
        """Threads that keep its device busy when each calls `probabilities`."""

    @property
    def batched(self) -> bool:
        """Whether an image costs less in company (GPUs).

        Else images are given one at a time, and no result depends on which other photos there are.
        """

    def probabilities(self, images: Float32) -> Float32:
        """Each pixel's probabilities; safe to be called from several threads at once.

        Args:
            images: float32 (b, 3, h, w), normalized; h and w are multiples of `size_multiple`. Any
                memory order: as a rule channels come last.

        Returns:
            float32 (b, C+1, h, w) in any memory order, summing to 1 over the channels; channel c is
            mask id c.

        Raises:
            DeviceError: out of memory, naming the settings to lower.
        """


class AveragedViews:
    """Shows a network each photo at several scales, and mirrored, and averages what it says.

    Args:
        segmenter: the network.
        scales: how many views of a photo there are.
        flip: show each view mirrored too.
    """

    def __init__(self, segmenter: Segmenter, scales: int, *, flip: bool) -> None:
        self.segmenter = segmenter
        self.flip = flip
        self._views = scales * (2 if flip else 1)
        self._scale_by = (1 / (255 * np.array(segmenter.std))).astype(np.float32)
        self._shift_by = (np.array(segmenter.mean) / segmenter.std).astype(np.float32)

    def padded(self, size: Size) -> Size:
        """(h, w) at which the network gets a view of a size (h, w)."""
        multiple = self.segmenter.size_multiple
        return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple

    def mean(self, photos: Sequence[Sequence[UInt8]], grids: Sequence[Size]) -> list[Float32]:
        """Probabilities of each photo on its grid, averaged over its views.

        Args:
            photos: of each photo its views, uint8 (h, w, 3), one a scale; those of one scale are
                equally large once padded.
            grids: (h, w) of each result.

        Returns:
            float32 (C+1, h, w) of each photo, in any memory order.
        """
        totals: list[Float32 | None] = [None] * len(photos)
        for views in zip(*photos, strict=True):  # of one scale
            for index, maps in self._forward(views):
                found = resized(maps, grids[index])
                total = totals[index]
                totals[index] = found if total is None else total + found
        share = np.float32(1 / self._views)
        return [
            total if self._views == 1 else total * share for total in totals if total is not None
        ]

    def _forward(self, views: Sequence[UInt8]) -> Iterator[tuple[int, Float32]]:
        """(index, probabilities (C+1, h, w)) of views and of their mirror images, turned back."""
        mirrored = (False, True) if self.flip else (False,)
        shown = [(index, flip) for index in range(len(views)) for flip in mirrored]
        images = self._images([views[i][:, ::-1] if flip else views[i] for i, flip in shown])
        at_once = len(images) if self.segmenter.batched else 1
        for first in range(0, len(images), at_once):
            found = self.segmenter.probabilities(images[first : first + at_once])
            for maps, (index, flip) in zip(found, shown[first:], strict=False):
                height, width = size_of(views[index])
                maps = maps[:, :height, :width]
                yield index, maps[:, :, ::-1] if flip else maps

    def _images(self, views: Sequence[UInt8]) -> Float32:
        """Normalize views (h, w, 3) and pad them alike -> (b, 3, H, W), channels last in memory."""
        padded = self.padded(size_of(views[0]))
        images = np.zeros((len(views), *padded, 3), np.float32)
        for image, view in zip(images, views, strict=True):
            _normalize(view, self._scale_by, self._shift_by, image)
        return images.transpose(0, 3, 1, 2)


@compiled
def _normalize(view: UInt8, scale_by: Float32, shift_by: Float32, image: Float32) -> None:
    height, width, channels = view.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                image[y, x, c] = view[y, x, c] * scale_by[c] - shift_by[c]


class GridBox(NamedTuple):
    """A part of a grid: rows top..bottom - 1, columns left..right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> Size:
        """(h, w)."""
        return self.bottom - self.top, self.right - self.left


def pixels(
    photo: Image.Image, size: Size, part: GridBox | None = None, grid: Size | None = None
) -> UInt8:
    """Resize a photo, or what of it falls into a part of a grid.

    Args:
        photo: RGB.
        size: (h, w) of the result.
        part: of the grid; None: the whole photo.
        grid: (h, w) of the grid that lies over the photo.

    Returns:
        uint8 (*size, 3).
    """
    box = None
    if part is not None and grid is not None:
        down, over = photo.height / grid[0], photo.width / grid[1]
        box = (
            part.left * over,
            part.top * down,
            min(part.right * over, photo.width),
            min(part.bottom * down, photo.height),
        )
    return np.asarray(photo.resize((size[1], size[0]), Image.Resampling.BICUBIC, box))


def size_of(image: npt.NDArray[np.generic]) -> Size:
    """(h, w) of an image or of one channel."""
    return image.shape[0], image.shape[1]
