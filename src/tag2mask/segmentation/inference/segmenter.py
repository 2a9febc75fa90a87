"""The interface of a trained segmentation network, and averaging its output over several views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.runtime.compiled import compiled_exactly
from tag2mask.segmentation.inference.label_loops import Float32, UInt8, resize_maps

ChannelValues = tuple[float, float, float]
"""One value for red, green and blue each."""
Size = tuple[int, int]


class Segmenter(Protocol):
    """A trained segmentation network, in evaluation mode."""

    @property
    def classes(self) -> ClassSet:
        """The foreground classes (C)."""

    @property
    def mean(self) -> ChannelValues:
        """Mean of the input normalization, RGB in 0..1."""

    @property
    def std(self) -> ChannelValues:
        """Standard deviation of the input normalization, RGB in 0..1."""

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of it, px."""

    @property
    def takes_any_size(self) -> bool:
        """Whether images of other sizes than these multiples are possible, as in the authors' code.

        If so, the multiples only keep views of a photo aligned.
        """

    @property
    def long_side(self) -> int:
        """Long side of photos at scale 1 during training, px."""

    @property
    def caller_threads(self) -> int:
        """Number of threads to call `probabilities` from in order to keep the device busy."""

    @property
    def batched(self) -> bool:
        """Whether batches are faster than single images (GPUs).

        If not, images are passed one at a time, and no result depends on other photos.
        """

    def probabilities(self, images: Float32) -> Float32:
        """Return the class probabilities of each pixel. Thread-safe.

        Args:
            images: normalized, float32 (b, 3, h, w); h and w are multiples of `size_multiple`, or
                any with `takes_any_size`. Any memory order, usually channels last.

        Returns:
            float32 (b, C+1, h, w) in any memory order, in 0..1 with sum 1 over the channels;
            channel c is mask id c.

        Raises:
            DeviceError: out of memory; the message names the settings to lower.
        """


class AveragedViews:
    """Averages the probabilities of a network over several scales and flips of each photo.

    Published (``experiment/seamv1-pseudovoc/test.py`` of
    https://github.com/YudeWang/semantic-segmentation-codebase): the logits are resized
    (align_corners=True) and averaged, then follows the softmax; views are not padded if the network
    takes any size. The logarithms of the probabilities serve as logits: they differ from them by
    one number per pixel, which neither the resizing nor the softmax of the mean depends on.

    Args:
        segmenter: the network.
        scales: number of views of a photo.
        flip: whether each view is also used flipped horizontally.
        published: whether to average logits.
    """

    def __init__(self, segmenter: Segmenter, scales: int, *, flip: bool, published: bool) -> None:
        self.segmenter = segmenter
        self.flip = flip
        self.published = published
        self._views = scales * (2 if flip else 1)
        self._scale_by = (1 / (255 * np.array(segmenter.std))).astype(np.float32)
        self._shift_by = (np.array(segmenter.mean) / segmenter.std).astype(np.float32)

    def padded(self, size: Size) -> Size:
        """Return the size (h, w) of a view with its padding."""
        any_size = self.published and self.segmenter.takes_any_size
        multiple = 1 if any_size else self.segmenter.size_multiple
        return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple

    def mean(self, photos: Sequence[Sequence[UInt8]], grids: Sequence[Size]) -> list[Float32]:
        """Return the mean probabilities of each photo over its views.

        Args:
            photos: for each photo one view per scale, uint8 (h, w, 3); the views of one scale have
                the same size with padding.
            grids: (h, w) of each result.

        Returns:
            float32 (C+1, h, w) of each photo, in any memory order.
        """
        totals: list[Float32 | None] = [None] * len(photos)
        for views in zip(*photos, strict=True):  # the views of one scale
            for index, maps in self._forward(views):
                if self.published:
                    maps = np.log(np.maximum(maps, np.finfo(np.float32).tiny))
                found = resize_maps(maps, grids[index], align_corners=self.published)
                total = totals[index]
                totals[index] = found if total is None else total + found
        share = np.float32(1 / self._views)
        means = [
            total if self._views == 1 else total * share for total in totals if total is not None
        ]
        return [channel_softmax(logits) for logits in means] if self.published else means

    def _forward(self, views: Sequence[UInt8]) -> Iterator[tuple[int, Float32]]:
        """Yield (index, probabilities (C+1, h, w)) of views and flipped views, flipped back."""
        flips = (False, True) if self.flip else (False,)
        inputs = [(index, flip) for index in range(len(views)) for flip in flips]
        images = self._images([views[i][:, ::-1] if flip else views[i] for i, flip in inputs])
        at_once = len(images) if self.segmenter.batched else 1
        for first in range(0, len(images), at_once):
            found = self.segmenter.probabilities(images[first : first + at_once])
            for maps, (index, flip) in zip(found, inputs[first:], strict=False):
                height, width = size_of(views[index])
                maps = maps[:, :height, :width]
                yield index, maps[:, :, ::-1] if flip else maps

    def _images(self, views: Sequence[UInt8]) -> Float32:
        """Normalize views (h, w, 3) and pad them to one size -> (b, 3, H, W), channels last."""
        padded = self.padded(size_of(views[0]))
        images = np.zeros((len(views), *padded, 3), np.float32)
        for image, view in zip(images, views, strict=True):
            _normalize(view, self._scale_by, self._shift_by, image)
        return images.transpose(0, 3, 1, 2)


def channel_softmax(logits: Float32) -> Float32:
    """Compute the softmax over the channels (..., k, h, w) in place."""
    logits -= logits.max(axis=-3, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-3, keepdims=True)
    return logits


@compiled_exactly
def _normalize(view: UInt8, scale_by: Float32, shift_by: Float32, image: Float32) -> None:
    """Write (view / 255 - mean) / std as one multiplication and one subtraction per value."""
    height, width, channels = view.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                image[y, x, c] = view[y, x, c] * scale_by[c] - shift_by[c]


class GridBox(NamedTuple):
    """A rectangle of cells: rows top..bottom - 1, columns left..right - 1."""

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
    """Resize a photo, or the part of it under a rectangle of a grid.

    Args:
        photo: RGB.
        size: (h, w) of the result.
        part: rectangle of the grid; None: the complete photo.
        grid: (h, w) of the grid that covers the photo; needed with ``part``.

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
    """Return (h, w) of an image or of one channel."""
    return image.shape[0], image.shape[1]
