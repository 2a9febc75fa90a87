"""Photos through a segmentation network, whatever runs it: views, averages, labels.

`Segmenter` is all that is asked of a network. Nothing here imports torch: a network exported to
ONNX is used without it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tag2mask.classes import ClassSet

Float32 = npt.NDArray[np.float32]
Rgb = tuple[float, float, float]


class Segmenter(Protocol):
    """A trained segmentation network, in evaluation mode."""

    @property
    def classes(self) -> ClassSet:
        """The foreground classes (C)."""

    @property
    def mean(self) -> Rgb:
        """Of red, green and blue in [0, 1], subtracted from an image."""

    @property
    def std(self) -> Rgb:
        """Of red, green and blue, by which an image is then divided."""

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of it, px."""

    @property
    def long_side(self) -> int:
        """The photo's long side at scale 1 when it was trained, px."""

    @property
    def callers(self) -> int:
        """Threads that keep its device busy when each calls `probabilities`."""

    @property
    def batched(self) -> bool:
        """Whether an image costs less in company (GPUs).

        Else images are given one at a time, and no result depends on which other photos there are.
        """

    def probabilities(self, images: Float32) -> Float32:
        """Each pixel's probabilities; safe to be called from several threads at once.

        Args:
            images: float32 (b, 3, h, w), normalised; h and w are multiples of `size_multiple`. Any
                memory order: as a rule channels come last.

        Returns:
            float32 (b, C+1, h, w) in any memory order, summing to 1 over the channels; channel c is
            mask id c.

        Raises:
            DeviceError: out of memory, naming the settings to lower.
        """
