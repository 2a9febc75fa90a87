"""Maps of large photos, tile by tile: where tiles lie, and how they fade into each other.

Each tile is weighted by a ramp across what it shares with its neighbors; the ramps of all tiles
sum to 1 everywhere. Tiles come row by row, and of those before only what the next ones need is
kept: one strip along the row and one beside the tile. So the memory grows with the photo's width
times the overlap, never with its area.
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
        first: where what is computed begins.
        begin: where its weight begins to rise, or the map's begin.
        own_end: where that of the next tile begins to rise, or the map's end.
        end: where its weight has fallen to 0, or the map's end; also the end of what is computed.
        rise: cells over which the weight rises; 0 at the map's begin.
    """

    first: int
    begin: int
    own_end: int
    end: int
    rise: int

    @property
    def fall(self) -> int:
        """Cells over which the weight falls; 0 at the map's end."""
        return self.end - self.own_end

    @property
    def margin(self) -> int:
        """Final cells of the tile before that are kept: pixels may lie between it and this one."""
        return min(self.begin, 1)

    def weights(self) -> Float32:
        """Weight of each cell from begin to end, float32."""
        weights = np.ones(self.end - self.begin, np.float32)
        weights[: self.rise] = _ramp(self.rise)
        weights[len(weights) - self.fall :] = 1 - _ramp(self.fall)
        return weights


def tile_spans(length: int, side: int, overlap: int, multiple: int) -> list[TileSpan]:
    """Cut an axis into tiles of one length, or take it whole where it is no longer than one.

    Tiles begin at multiples, so that a network sees the same grid as in the whole photo; the last
    one begins so early that it is as long as the others, of which only the end is used.

    Args:
        length: of the axis, cells.
        side: of a tile, a multiple of ``multiple``.
        overlap: of neighbors at least, a multiple of ``multiple`` and at most half a tile.
        multiple: see above.
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
    """A part of a map that no later tile changes.

    Attributes:
        values: float32 (k, h, w).
        top: its first row in the map.
        left: its first column.
    """

    values: Float32
    top: int
    left: int


class TileBlender:
    """Puts weighted tiles together, row by row, keeping strips alone.

    Args:
        channels: k.
        rows: tiles along the height.
        columns: tiles along the width.
    """

    def __init__(self, channels: int, rows: list[TileSpan], columns: list[TileSpan]) -> None:
        # Of the row of tiles above: its last final line, then the lines that are shared.
        above = 1 + max(row.fall for row in rows)
        self._above = np.zeros((channels, above, columns[-1].end), np.float32)
        self._beside = np.zeros((channels, 0, 0), np.float32)

    def add(self, tile: Float32, row: TileSpan, column: TileSpan) -> MapBlock:
        """Add the next tile of a row, and return what is final now.

        Args:
            tile: float32 (k, h, w) from ``begin`` to ``end``; overwritten.
            row: where it lies.
            column: likewise.

        Returns:
            From ``begin`` to ``own_end``, with one row above and one column to the left where there
            are any.
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
