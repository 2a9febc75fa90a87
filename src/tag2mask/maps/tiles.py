"""Overlapping tiles of large photos: their positions, and blending them into one map.

In the overlap with its neighbors each tile is weighted by a linear ramp; the weights of all tiles
sum to 1 everywhere. Tiles are added row by row. Of earlier tiles only the strips that later ones
overlap are kept, one along the row and one at the tile's side. So the memory grows with the photo's
width times the overlap, not with its area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TileSpan:
    """A tile along one axis, in cells of the map.

    Attributes:
        first: first cell that is computed.
        begin: first cell with a weight above 0.
        own_end: first cell of the overlap with the next tile, or the end of the map.
        end: one past the last cell of the tile, both computed and with a weight above 0.
        rise: number of cells over which the weight rises; 0 at the beginning of the map.
    """

    first: int
    begin: int
    own_end: int
    end: int
    rise: int

    @property
    def fall(self) -> int:
        """Number of cells over which the weight falls; 0 at the end of the map."""
        return self.end - self.own_end

    @property
    def margin(self) -> int:
        """Number of final cells kept of the previous tile, for pixels between the two tiles."""
        return min(self.begin, 1)

    def weights(self) -> Float32:
        """Return the weight of each cell from begin to end - 1, float32."""
        weights = np.ones(self.end - self.begin, np.float32)
        weights[: self.rise] = _ramp(self.rise)
        weights[len(weights) - self.fall :] = 1 - _ramp(self.fall)
        return weights


def tile_spans(length: int, side: int, overlap: int, multiple: int) -> list[TileSpan]:
    """Cut an axis into overlapping tiles of one length; a short axis is one tile.

    Tiles begin at multiples of the network's stride, so a network samples them at the same places
    as the complete photo. The computed part of the last tile begins early enough to be as long as
    the others; only its end is used.

    Args:
        length: length of the axis, cells.
        side: length of a tile, a multiple of ``multiple``.
        overlap: overlap of neighbors, a multiple of ``multiple`` and at most half a tile.
        multiple: the network's size multiple, cells.
    """
    assert side % multiple == 0 and overlap % multiple == 0, (side, overlap, multiple)
    assert 0 <= 2 * overlap <= side, (side, overlap)
    step = side - overlap
    begins = range(0, max(length - overlap, 1), step)
    found = []
    for begin in begins:
        last = begin == begins[-1]
        found.append(
            TileSpan(
                first=max(0, -(-length // multiple) * multiple - side) if last else begin,
                begin=begin,
                own_end=length if last else begin + step,
                end=length if last else begin + side,
                rise=overlap if begin else 0,
            )
        )
    return found


class MapBlock(NamedTuple):
    """A part of a map that is final: no later tile changes it.

    Attributes:
        values: float32 (k, h, w).
        top: first row of the block in the map.
        left: first column of the block in the map.
    """

    values: Float32
    top: int
    left: int


class TileBlender:
    """Blends tiles into one map, row by row, and stores only the strips that overlap.

    Args:
        channels: number of channels k.
        rows: tiles along the height.
        columns: tiles along the width.
    """

    def __init__(self, channels: int, rows: list[TileSpan], columns: list[TileSpan]) -> None:
        # Of the row of tiles above: its last final row of cells, then the rows of the overlap.
        above = 1 + max(row.fall for row in rows)
        self._above = np.zeros((channels, above, columns[-1].end), np.float32)
        self._beside = np.zeros((channels, 0, 0), np.float32)

    def add(self, tile: Float32, row: TileSpan, column: TileSpan) -> MapBlock:
        """Add the next tile of a row, and return the block that is final now.

        Args:
            tile: float32 (k, h, w), cells ``begin`` to ``end - 1``; overwritten.
            row: span of the tile along the height.
            column: span of the tile along the width.

        Returns:
            The cells ``begin`` to ``own_end - 1``, with one row above and one column to the left if
            there are any.
        """
        top, left = row.margin, column.margin
        tile *= row.weights()[:, None]
        tile *= column.weights()
        height, width = row.end - row.begin + top, column.end - column.begin + left
        values = np.zeros((len(tile), height, width), np.float32)
        values[:, top:, left:] = tile
        if left:
            values[:, :, : self._beside.shape[2]] += self._beside
        own = slice(column.begin, column.own_end)
        inner = slice(left, left + column.own_end - column.begin)
        if top:
            values[:, : 1 + row.rise, inner] += self._above[:, : 1 + row.rise, own]
        final_rows, final_columns = height - row.fall, width - column.fall
        self._above[:, : 1 + row.fall, own] = values[:, final_rows - 1 :, inner]
        self._beside = values[:, :, final_columns - 1 :].copy()
        return MapBlock(
            values[:, :final_rows, :final_columns], row.begin - top, column.begin - left
        )


def _ramp(length: int) -> Float32:
    return (np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(max(length, 1))
