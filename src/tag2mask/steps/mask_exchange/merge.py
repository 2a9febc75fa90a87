"""One mask from the regions of a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import IGNORE
from tag2mask.errors import DataError
from tag2mask.formats.annotations import Region


class RegionMerger:
    """Draws regions one after another, in any order, with the same result.

    Where regions overlap, the one with the higher score is shown, else the smaller one. Scores
    count only if every region of the photo has one. Regions to ignore are below all others.

    Args:
        size: (h, w) px of the photo.
        scored: whether every region has a score.

    Attributes:
        mask: uint8 (h, w), the mask so far.
    """

    def __init__(self, size: tuple[int, int], *, scored: bool) -> None:
        self.mask = np.zeros(size, np.uint8)
        self._scored = scored
        self._drawn = np.zeros(size, np.bool_)
        self._several = np.zeros(size, np.bool_)
        self._scores = np.full(size, -np.inf, np.float64)
        self._areas = np.full(size, np.iinfo(np.int64).max, np.int64)

    @property
    def dropped(self) -> int:
        """Number of pixels where regions of different classes overlap."""
        return int(np.count_nonzero(self._several))

    def add(self, region: Region, value: int) -> int:
        """Draw a region with a value of the mask; return its number of pixels.

        Raises:
            DataError: it is damaged, or of another size.
        """
        assert region.mask is not None
        pixels = region.mask()
        if pixels.shape != self.mask.shape:
            raise DataError(
                f"a region ({region.label}) is {pixels.shape[1]}x{pixels.shape[0]} px, the photo "
                f"{self.mask.shape[1]}x{self.mask.shape[0]}",
                fix="Correct the annotations, or replace the photo.",
            )
        area = int(np.count_nonzero(pixels))
        score = region.score if self._scored and region.score is not None else 0.0
        if value == IGNORE:
            score = -1e300
        self._draw(pixels, value, score, area)
        return area

    def _draw(self, pixels: NDArray[np.bool_], value: int, score: float, area: int) -> None:
        if value != IGNORE:
            differs = (self.mask != value) & (self.mask != IGNORE)
            self._several |= pixels & self._drawn & differs
        smaller = (self._scores == score) & (
            (area < self._areas) | ((area == self._areas) & (value < self.mask))
        )
        shown = pixels & ((self._scores < score) | smaller)
        self.mask[shown], self._scores[shown], self._areas[shown] = value, score, area
        self._drawn |= pixels
