"""The label map of a photo, filled block by block from a map of probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tag2mask.errors import DataError
from tag2mask.maps.tiles import MapBlock
from tag2mask.segmentation.inference.label_loops import (
    Float32,
    UInt8,
    axis_interpolation,
    channel_argmax,
    enlarged_labels,
)

Confidence = Literal["float32", "uint8"]

STRIP_PIXELS = 1 << 20
"""Pixels that are labeled at once; limits the memory of temporary arrays."""


@dataclass(frozen=True)
class PhotoLabels:
    """The labels of a photo of size (H, W).

    Attributes:
        labels: mask ids, uint8 (H, W).
        confidence: probability of each pixel's label, float32 (H, W) in 0..1, or uint8 (H, W) in
            0..255; None if not requested.
        probabilities: probabilities of all channels on the working grid, float16 (C+1, h, w); None
            if not requested.
    """

    labels: UInt8
    confidence: Float32 | UInt8 | None
    probabilities: npt.NDArray[np.float16] | None


class LabelCanvas:
    """Collects blocks of a map until every pixel of the photo is labeled.

    Args:
        size: (H, W) of the photo.
        cells: (h, w) of the map.
        confidence: data type of the confidences; None: not stored.
        probabilities: shape (C+1, h, w) of the probabilities; None: not stored.

    Attributes:
        result: the labels so far.
    """

    def __init__(
        self,
        size: tuple[int, int],
        cells: tuple[int, int],
        *,
        confidence: Confidence | None = None,
        probabilities: tuple[int, int, int] | None = None,
    ) -> None:
        self._rows, self._columns = (
            axis_interpolation(cells[0], size[0]),
            axis_interpolation(cells[1], size[1]),
        )
        self.result = PhotoLabels(
            np.empty(size, np.uint8),
            np.empty(size, confidence) if confidence else None,
            np.empty(probabilities, np.float16) if probabilities else None,
        )

    def write_probabilities(self, block: MapBlock) -> None:
        """Store a block of probabilities, if they were requested."""
        if self.result.probabilities is not None:
            height, width = block.values.shape[1:]
            self.result.probabilities[
                :, block.top : block.top + height, block.left : block.left + width
            ] = block.values

    def write_labels(self, block: MapBlock, ids: UInt8) -> None:
        """Label the pixels between the cells of a block.

        Args:
            block: probabilities or other scores; the channel with the largest value is the label.
            ids: mask id of each channel, uint8 (k,).

        Raises:
            DataError: a value is NaN.
        """
        argmax = channel_argmax(block.values)
        if argmax is None:
            raise DataError(
                "the network's probabilities aren't finite",
                where="segmentation network",
                fix="Set the precision to '32' (predict.precision; train_segmenter.precision while "
                "it trains). If it already is, train the network again.",
            )
        above, below = _inside(self._rows.cells, block.top, argmax.shape[0])
        left, right = _inside(self._columns.cells, block.left, argmax.shape[1])
        columns = self._columns.part(left, right, block.left)
        strip = max(1, STRIP_PIXELS // max(right - left, 1))
        for top in range(above, below, strip):
            bottom = min(top + strip, below)
            labels, confidences = enlarged_labels(
                block.values,
                argmax,
                self._rows.part(top, bottom, block.top),
                columns,
                confidence=self.result.confidence is not None,
            )
            self.result.labels[top:bottom, left:right] = ids[labels]
            self._write_confidence(confidences, top, bottom, left, right)

    def _write_confidence(
        self, confidences: Float32, top: int, bottom: int, left: int, right: int
    ) -> None:
        confidence = self.result.confidence
        if confidence is None:
            return
        if confidence.dtype == np.uint8:
            confidences = np.rint(confidences * np.float32(255))
        confidence[top:bottom, left:right] = confidences


def _inside(cells: npt.NDArray[np.intp], first: int, count: int) -> tuple[int, int]:
    """Return first and end of the pixels of an axis between cells first..first + count - 1."""
    return (
        int(np.searchsorted(cells[:, 0], first)),
        int(np.searchsorted(cells[:, 1], first + count)),
    )
