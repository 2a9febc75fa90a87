"""Gaussian filter in a space of several features, on the permutohedral lattice.

Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (2010). Every
pixel is a point of d features. It lies in a simplex of the lattice and gives its value to the d + 1
corners (splat); lattice points are blurred along each of d + 1 axes (blur); the pixel reads the
result at its corners (slice). Work and memory grow with the number of pixels, not with that of
pairs.

The lattice depends on the features alone and serves any number of channels. Splat sums over the
list of a point's pixels, slice over a pixel's corners: threads share both without ever writing to
the same place, and their number changes no bit of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tag2mask.crf import permutohedral_loops as loops
from tag2mask.crf.permutohedral_loops import Float32, Int64, UInt32
from tag2mask.errors import DataError
from tag2mask.runtime.compiled import BLOCK, Team

GROUP = 4
"""Channels that are filtered together, side by side in memory, where there are as many."""
STRIP = 8 * BLOCK
"""Pixels whose corners are found before the table may grow."""
MOST_KEYS = 2**62
"""Lattice points that int64 can number."""


class PermutohedralLattice:
    """The lattice of n pixels with d features each; its Gaussian has a standard deviation of 1.

    Args:
        features: float32 (d, n), finite; a pixel's position in units of standard deviations.
        team: threads that share the work.

    Attributes:
        pixels: n.
        points: number of lattice points in use, m.
        gain: constant factor of the filter (alpha in the authors' code).

    Raises:
        DataError: the features spread too far to number the lattice points.
    """

    def __init__(self, features: Float32, team: Team) -> None:
        dims, self.pixels = features.shape
        self.gain = 1 / (1 + 2.0**-dims)
        self._norm = np.ones(self.pixels, np.float32)
        self._corners = np.empty((self.pixels, dims + 1), np.uint32)
        self._weights = np.empty((self.pixels, dims + 1), np.float32)
        numbering = _Numbering.of(features)
        parts = team.parts(self.pixels)
        found = team.run(partial(self._embed, features, numbering, *part) for part in parts)
        # Each part has numbered its own points; together, in the same order as a single part.
        table = _Points()
        numbers = [table.add(points.keys[: points.count]) for points in found]
        self.points = table.count
        self._neighbors = np.empty((dims + 1, self.points, 2), np.uint32)
        counts = np.zeros((len(parts), self.points), np.int64)
        team.run(
            [
                *(
                    partial(
                        loops.find_neighbors,
                        table.keys,
                        table.count,
                        table.slots,
                        table.numbers,
                        numbering.digits,
                        self._neighbors,
                        *part,
                    )
                    for part in team.parts(self.points)
                ),
                *(
                    partial(loops.count_pixels, self._corners, own_numbers, own_counts, *part)
                    for own_numbers, own_counts, part in zip(numbers, counts, parts, strict=True)
                ),
            ]
        )
        self._list_pixels(counts, parts, team)

    def _embed(self, features: Float32, numbering: _Numbering, first: int, last: int) -> _Points:
        """Find the corners of some pixels; they are numbered in the table that is returned."""
        points = _Points()
        for begin in range(first, last, STRIP):
            end = min(begin + STRIP, last)
            points.reserve((end - begin) * (len(features) + 1))
            points.count = loops.embed(
                features,
                numbering.scale,
                numbering.digits,
                numbering.shift,
                points.count,
                points.keys,
                points.slots,
                points.numbers,
                self._corners,
                self._weights,
                begin,
                end,
            )
        return points

    def _list_pixels(self, counts: Int64, parts: list[tuple[int, int]], team: Team) -> None:
        """List the pixels of every lattice point, rising, given their number by part and point."""
        ends = np.cumsum(counts.T.ravel()).reshape(self.points, len(parts))
        places = np.ascontiguousarray(ends.T) - counts
        self._starts = np.append(places[0], ends[-1, -1])
        self._listed = np.empty(self._starts[-1], np.uint32)
        self._listed_weights = np.empty(self._starts[-1], np.float32)
        team.run(
            partial(
                loops.list_pixels,
                self._corners,
                self._weights,
                own_places,
                self._listed,
                self._listed_weights,
                *part,
            )
            for own_places, part in zip(places, parts, strict=True)
        )

    def normalize(self, team: Team) -> None:
        """Divide by the square root of the filtered ones, before and after every later filter."""
        ones = np.ones(self.pixels, np.float32)
        self._norm = 1 / np.sqrt(self.filter(ones, team) + np.float32(1e-20))
        team.run(
            partial(loops.scale_listed, self._listed, self._norm, self._listed_weights, *part)
            for part in team.parts(len(self._listed))
        )

    def filter(self, values: Float32, team: Team) -> Float32:
        """Sum the values of all pixels, each times a Gaussian of its distance, at every pixel.

        Args:
            values: float32 (n,).
            team: threads that share the work.

        Returns:
            float32 (n,), up to a constant that is the same for every pixel.
        """
        column, lattice = np.ascontiguousarray(values)[:, None], self.lattice_values(1)
        out = np.zeros((1, self.pixels), np.float32)
        team.run(partial(self.splat, column, lattice, *part) for part in self.point_parts(team))
        blurred = self.blur(lattice, self.lattice_values(1))
        team.run(
            partial(self.slice, blurred, 1.0, out[:, first:last], first, last)
            for first, last in team.parts(self.pixels)
        )
        result: Float32 = out[0]
        return result

    def point_parts(self, team: Team) -> list[tuple[int, int]]:
        """Split the lattice points into one range a thread, all with about as many pixels."""
        shares = np.linspace(0, self._starts[-1], team.threads + 1)[1:-1]
        bounds = [0, *map(int, np.searchsorted(self._starts, shares)), self.points]
        return [(first, last) for first, last in pairwise(bounds) if first < last]

    def lattice_values(self, channels: int) -> Float32:
        """Zeros for all lattice points, (m + 1, channels); the last row stands for no point."""
        return np.zeros((self.points + 1, channels), np.float32)

    def splat(self, values: Float32, out: Float32, first: int, last: int) -> None:
        """Sum the pixels' values at some lattice points.

        Args:
            values: float32 (n, c), c = 1 or ``GROUP``.
            out: float32 (m + 1, c), set at first..last.
            first: first lattice point.
            last: end of the lattice points.
        """
        loop = loops.splat_one if values.shape[1] == 1 else loops.splat_four
        loop(self._starts, self._listed, self._listed_weights, values, out, first, last)

    def blur(self, values: Float32, spare: Float32) -> Float32:
        """Blur along every axis; both arrays (m + 1, c) are overwritten, one is returned."""
        for neighbors in self._neighbors:
            loops.blur(neighbors, values, spare)
            values, spare = spare, values
        return values

    def slice(self, values: Float32, factor: float, out: Float32, first: int, last: int) -> None:
        """Add what lattice values say at some pixels.

        Args:
            values: float32 (m + 1, c), c = 1 or ``GROUP``.
            factor: of what is added.
            out: float32 (c, last - first or more), contiguous along its rows.
            first: first pixel.
            last: end of the pixels.
        """
        loop = loops.slice_one if values.shape[1] == 1 else loops.slice_four
        gain: Any = np.float32(factor * self.gain)  # a Python float would be a float64
        loop(self._corners, self._weights, self._norm, values, gain, out, first, last)


class _Points:
    """Lattice points numbered by first appearance.

    Attributes:
        count: of points.
        keys: int64, by number; more than ``count``.
        slots: int64, a hash table of the keys, -1 where free.
        numbers: uint32, those of the keys in ``slots``.
    """

    def __init__(self) -> None:
        self.count = 0
        self._allocate(4096)

    def _allocate(self, room: int) -> None:
        self.keys = np.empty(room, np.int64)
        self.slots = np.full(2 * room, -1, np.int64)
        self.numbers = np.empty(2 * room, np.uint32)

    def reserve(self, more: int) -> None:
        """Make room for more points."""
        room = len(self.keys)
        while room < self.count + more:
            room *= 2
        if room > len(self.keys):
            known, self.count = self.keys[: self.count], 0
            self._allocate(room)
            self.add(known)

    def add(self, keys: Int64) -> UInt32:
        """Add those keys that are new; returns the numbers of all, uint32."""
        self.reserve(len(keys))
        ids = np.empty(len(keys), np.uint32)
        self.count = loops.number_keys(keys, self.count, self.keys, self.slots, self.numbers, ids)
        return ids


@dataclass(frozen=True)
class _Numbering:
    """How lattice points become integers: their coordinates are the digits.

    Attributes:
        scale: float32 (d,), of the features.
        digits: int64 (d+1,), value of each coordinate; the last follows from the others: 0.
        shift: added, so that no number is negative.
    """

    scale: Float32
    digits: Int64
    shift: int

    @classmethod
    def of(cls, features: Float32) -> _Numbering:
        """Number the lattice points around these features (d, n)."""
        dims = len(features)
        axes = np.arange(1, dims + 1)
        # Gives splat, blur and slice together a variance of 1 along every feature (section 3.1).
        scale = math.sqrt(2 / 3) * (dims + 1) / np.sqrt(axes * (axes + 1))
        low, high = features.min(axis=1) * scale, features.max(axis=1) * scale
        # Coordinate j is the sum of features j.. less j times feature j - 1.
        least = np.cumsum(low[::-1])[::-1] - np.append(0, high[:-1]) * (axes - 1)
        most = np.cumsum(high[::-1])[::-1] - np.append(0, low[:-1]) * (axes - 1)
        margin = 4 * (dims + 1)  # corners lie within 2.5 (d + 1) of a pixel, neighbors d further
        floors = [math.floor(value) - margin for value in least]
        sizes = [
            math.ceil(value) + margin - floor for value, floor in zip(most, floors, strict=True)
        ]
        if math.prod(sizes) >= MOST_KEYS:
            raise DataError(
                "the photo spreads over too many standard deviations of a kernel",
                where="dense CRF",
                fix="Use larger standard deviations (sxy, srgb), or a smaller photo.",
            )
        digits = [math.prod(sizes[:axis]) for axis in range(dims)]
        shift = -sum(floor * digit for floor, digit in zip(floors, digits, strict=True))
        return cls(scale.astype(np.float32), np.array([*digits, 0], np.int64), shift)
