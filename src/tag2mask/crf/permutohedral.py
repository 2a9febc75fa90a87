"""Gaussian filter in a space of several features, on the permutohedral lattice.

Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (Eurographics
2010, https://graphics.stanford.edu/papers/permutohedral/). Every pixel is a point with d features.
It adds its value to the d + 1 corners of the lattice simplex that contains it (splat). The lattice
points are blurred along each of d + 1 axes (blur). Then the pixel interpolates the result from its
corners (slice). Time and memory are proportional to the number of pixels, not of pairs.

The lattice depends on the features only and serves any number of channels. Splat sums over the list
of pixels of each lattice point, slice over the corners of each pixel. So no two threads write to
the same place, and results are bit for bit the same for any number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tag2mask.crf import lattice_build, lattice_filter
from tag2mask.crf.lattice_build import Float32, Int64, UInt32
from tag2mask.errors import DataError
from tag2mask.runtime.compiled import BLOCK, Team

GROUP = 4
"""Channels filtered together, stored side by side."""
STRIP = 8 * BLOCK
"""Pixels processed between two checks of the size of the hash table."""
MOST_KEYS = 2**62
"""Limit of the range of keys, which are int64."""


class PermutohedralLattice:
    """Lattice of n pixels with d features each; its Gaussian has a standard deviation of 1.

    Args:
        features: float32 (d, n), finite; in units of standard deviations.
        team: threads that share the work.

    Attributes:
        pixels: n.
        points: number of lattice points in use, m.
        gain: constant factor of the filter (``alpha`` in the authors' code).

    Raises:
        DataError: the features have too large a range to number the lattice points.
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
        # Each part numbered its own points. Merged in order, numbers are those of a single part.
        table = _Points()
        numbers = [table.add(points.keys[: points.count]) for points in found]
        self.points = table.count
        self._neighbors = np.empty((dims + 1, self.points, 2), np.uint32)
        counts = np.zeros((len(parts), self.points), np.int64)
        team.run(
            [
                *(
                    partial(
                        lattice_build.find_neighbors,
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
                    partial(
                        lattice_build.count_pixels, self._corners, own_numbers, own_counts, *part
                    )
                    for own_numbers, own_counts, part in zip(numbers, counts, parts, strict=True)
                ),
            ]
        )
        self._list_pixels(counts, parts, team)

    def _embed(self, features: Float32, numbering: _Numbering, first: int, last: int) -> _Points:
        """Find the corners of some pixels, and return the table that numbers them."""
        points = _Points()
        for begin in range(first, last, STRIP):
            end = min(begin + STRIP, last)
            points.reserve((end - begin) * (len(features) + 1))
            points.count = lattice_build.embed(
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
        """List the pixels of every lattice point in ascending order.

        Args:
            counts: int64 (parts, m), number of pixels.
            parts: ranges of pixels.
            team: threads that share the work.
        """
        ends = np.cumsum(counts.T.ravel()).reshape(self.points, len(parts))
        places = np.ascontiguousarray(ends.T) - counts
        self._starts = np.append(places[0], ends[-1, -1])
        self._listed = np.empty(self._starts[-1], np.uint32)
        self._listed_weights = np.empty(self._starts[-1], np.float32)
        team.run(
            partial(
                lattice_build.list_pixels,
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
        """Normalize later filters symmetrically: D^-1/2 K D^-1/2, with D the filtered ones."""
        ones = np.ones(self.pixels, np.float32)
        self._norm = 1 / np.sqrt(self.filter(ones, team) + np.float32(1e-20))
        team.run(
            partial(
                lattice_filter.scale_listed, self._listed, self._norm, self._listed_weights, *part
            )
            for part in team.parts(len(self._listed))
        )

    def filter(self, values: Float32, team: Team) -> Float32:
        """Return the Gaussian-weighted sum of all pixels' values at every pixel.

        Args:
            values: float32 (n,).
            team: threads that share the work.

        Returns:
            float32 (n,), up to a constant factor.
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
        """Split the lattice points into one range per thread, with about equal pixel counts."""
        shares = np.linspace(0, self._starts[-1], team.threads + 1)[1:-1]
        bounds = [0, *map(int, np.searchsorted(self._starts, shares)), self.points]
        return [(first, last) for first, last in pairwise(bounds) if first < last]

    def lattice_values(self, channels: int) -> Float32:
        """Return zeros for all lattice points, (m + 1, channels); the last row is "no point"."""
        return np.zeros((self.points + 1, channels), np.float32)

    def splat(self, values: Float32, out: Float32, first: int, last: int) -> None:
        """Sum the pixels' values at some lattice points.

        Args:
            values: float32 (n, c), c = 1 or ``GROUP``.
            out: float32 (m + 1, c), written at first..last.
            first: first lattice point.
            last: end of the lattice points (exclusive).
        """
        loop = lattice_filter.splat_one if values.shape[1] == 1 else lattice_filter.splat_four
        loop(self._starts, self._listed, self._listed_weights, values, out, first, last)

    def blur(self, values: Float32, spare: Float32) -> Float32:
        """Blur along every axis. Both arrays (m + 1, c) are overwritten; one is returned."""
        for neighbors in self._neighbors:
            lattice_filter.blur(neighbors, values, spare)
            values, spare = spare, values
        return values

    def slice(self, values: Float32, factor: float, out: Float32, first: int, last: int) -> None:
        """Interpolate lattice values at some pixels, and add them to ``out``.

        Args:
            values: float32 (m + 1, c), c = 1 or ``GROUP``.
            factor: factor of the added values.
            out: float32 (c, last - first or more), contiguous along its rows.
            first: first pixel.
            last: end of the pixels (exclusive).
        """
        loop = lattice_filter.slice_one if values.shape[1] == 1 else lattice_filter.slice_four
        gain: Any = np.float32(factor * self.gain)  # a Python float would be a float64
        loop(self._corners, self._weights, self._norm, values, gain, out, first, last)


class _Points:
    """Hash table of lattice points, numbered by first appearance.

    Attributes:
        count: number of points.
        keys: int64, keys by number; longer than ``count``.
        slots: int64, keys by slot; -1 where free.
        numbers: uint32, numbers of the keys in ``slots``.
    """

    def __init__(self) -> None:
        self.count = 0
        self._allocate(4096)

    def _allocate(self, capacity: int) -> None:
        self.keys = np.empty(capacity, np.int64)
        self.slots = np.full(2 * capacity, -1, np.int64)
        self.numbers = np.empty(2 * capacity, np.uint32)

    def reserve(self, more: int) -> None:
        """Grow the table so that more points fit."""
        capacity = len(self.keys)
        while capacity < self.count + more:
            capacity *= 2
        if capacity > len(self.keys):
            known, self.count = self.keys[: self.count], 0
            self._allocate(capacity)
            self.add(known)

    def add(self, keys: Int64) -> UInt32:
        """Add the keys that are new, and return the numbers of all keys, uint32."""
        self.reserve(len(keys))
        ids = np.empty(len(keys), np.uint32)
        self.count = lattice_build.number_keys(
            keys, self.count, self.keys, self.slots, self.numbers, ids
        )
        return ids


@dataclass(frozen=True)
class _Numbering:
    """Numbering of lattice points: their coordinates are the digits of an integer key.

    Attributes:
        scale: float32 (d,), factors of the features.
        digits: int64 (d+1,), place value of each coordinate; 0 for the last, which follows from
            the others.
        shift: added to every key, so that none is negative.
    """

    scale: Float32
    digits: Int64
    shift: int

    @classmethod
    def of(cls, features: Float32) -> _Numbering:
        """Return a numbering of all lattice points near the features (d, n)."""
        dims = len(features)
        axes = np.arange(1, dims + 1)
        # Splat, blur and slice together then have variance 1 along every feature (section 3.1).
        scale = math.sqrt(2 / 3) * (dims + 1) / np.sqrt(axes * (axes + 1))
        low, high = features.min(axis=1) * scale, features.max(axis=1) * scale
        # Coordinate j is the sum of the features from j on, minus j times feature j - 1.
        least = np.cumsum(low[::-1])[::-1] - np.append(0, high[:-1]) * (axes - 1)
        most = np.cumsum(high[::-1])[::-1] - np.append(0, low[:-1]) * (axes - 1)
        margin = 4 * (dims + 1)  # corners lie within 2.5 (d + 1) of a pixel, neighbors d further
        floors = [math.floor(value) - margin for value in least]
        sizes = [
            math.ceil(value) + margin - floor for value, floor in zip(most, floors, strict=True)
        ]
        if math.prod(sizes) >= MOST_KEYS:
            raise DataError(
                "the photo extends over too many standard deviations of a kernel",
                where="dense CRF",
                fix="Use larger standard deviations (sxy, srgb), or a smaller photo.",
            )
        digits = [math.prod(sizes[:axis]) for axis in range(dims)]
        shift = -sum(floor * digit for floor, digit in zip(floors, digits, strict=True))
        return cls(scale.astype(np.float32), np.array([*digits, 0], np.int64), shift)
