"""A photo's labels as they come together, block by block of the map behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tag2mask.errors import DataError
from tag2mask.segmentation.inference.label_loops import (
    Float32,
    UInt8,
    axis_interpolation,
    enlarged_labels,
    winners,
)
from tag2mask.segmentation.inference.tiles import MapBlock

Confidence = Literal["float32", "uint8"]

STRIP_PIXELS = 1 << 20
"""Pixels whose labels and confidence are made at once."""


@dataclass(frozen=True)
class PhotoLabels:
    """A photo's labels; (H, W) is its size.

    Attributes:
        labels: mask ids, uint8 (H, W).
        confidence: the label's probability, float32 (H, W) in [0, 1], or uint8 of 255ths; None: not
            wanted.
        probabilities: of all channels on the network's grid, float16 (C+1, h, w); None: not wanted.
    """

    labels: UInt8
    confidence: Float32 | UInt8 | None
    probabilities: npt.NDArray[np.float16] | None


class LabelCanvas:
    """Takes blocks of a map until every pixel of the photo has its label.

    Args:
        size: (H, W) of the photo.
        cells: (h, w) of the map.
        confidence: in which type each pixel's confidence is wanted; None: not.
        probabilities: (C+1, h, w) of the probabilities to be kept too; None: none.
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
        self.labeled = PhotoLabels(
            np.empty(size, np.uint8),
            np.empty(size, confidence) if confidence else None,
            np.empty(probabilities, np.float16) if probabilities else None,
        )

    def keep(self, block: MapBlock) -> None:
        """Keep a block of probabilities, where they are wanted."""
        if self.labeled.probabilities is not None:
            height, width = block.values.shape[1:]
            self.labeled.probabilities[
                :, block.top : block.top + height, block.left : block.left + width
            ] = block.values

    def paint(self, block: MapBlock, ids: UInt8) -> None:
        """Label the pixels that lie between cells of a block.

        Args:
            block: probabilities or whatever else of it the largest wins.
            ids: mask id of each of its channels.

        Raises:
            DataError: the values aren't finite.
        """
        winner = winners(block.values)
        if winner is None:
            raise DataError(
                "the network's probabilities aren't finite",
                where="predict",
                fix="Set predict.precision to '32'; if it is, the network is no good: train again.",
            )
        above, below = _inside(self._rows.cells, block.top, winner.shape[0])
        left, right = _inside(self._columns.cells, block.left, winner.shape[1])
        columns = self._columns.part(left, right, block.left)
        strip = max(1, STRIP_PIXELS // max(right - left, 1))
        for top in range(above, below, strip):
            bottom = min(top + strip, below)
            labels, sure = enlarged_labels(
                block.values,
                winner,
                self._rows.part(top, bottom, block.top),
                columns,
                confidence=self.labeled.confidence is not None,
            )
            self.labeled.labels[top:bottom, left:right] = ids[labels]
            self._note(sure, top, bottom, left, right)

    def _note(self, sure: Float32, top: int, bottom: int, left: int, right: int) -> None:
        confidence = self.labeled.confidence
        if confidence is None:
            return
        if confidence.dtype == np.uint8:
            sure = np.rint(sure * np.float32(255))
        confidence[top:bottom, left:right] = sure


def _inside(cells: npt.NDArray[np.intp], first: int, count: int) -> tuple[int, int]:
    """First and end of the pixels of an axis that lie between cells first..first + count - 1."""
    return (
        int(np.searchsorted(cells[:, 0], first)),
        int(np.searchsorted(cells[:, 1], first + count)),
    )
