"""Compiled loops that filter on a permutohedral lattice: splat, blur, slice.

Arrays are C-contiguous. n pixels, d features, m lattice points; arrays of lattice points have one
more row for "no such point", whose values stay zero.
"""

from __future__ import annotations

import numpy as np

from tag2mask.crf.lattice_build import Float32, Int64, UInt32
from tag2mask.runtime.compiled import compiled


@compiled
def splat_one(
    starts: Int64,
    pixels: UInt32,
    weights: Float32,
    values: Float32,
    out: Float32,
    first: int,
    last: int,
) -> None:
    """Sum the values (n, 1) of the pixels of some lattice points into ``out`` (m+1, 1)."""
    for point in range(first, last):
        total = np.float32(0)
        for entry in range(starts[point], starts[point + 1]):
            total += weights[entry] * values[pixels[entry], 0]
        out[point, 0] = total


@compiled
def splat_four(
    starts: Int64,
    pixels: UInt32,
    weights: Float32,
    values: Float32,
    out: Float32,
    first: int,
    last: int,
) -> None:
    """Do as `splat_one` for four channels, kept in registers: values (n, 4), out (m+1, 4)."""
    for point in range(first, last):
        a = b = c = d = np.float32(0)
        for entry in range(starts[point], starts[point + 1]):
            weight, pixel = weights[entry], pixels[entry]
            a += weight * values[pixel, 0]
            b += weight * values[pixel, 1]
            c += weight * values[pixel, 2]
            d += weight * values[pixel, 3]
        out[point, 0], out[point, 1], out[point, 2], out[point, 3] = a, b, c, d


@compiled
def blur(neighbors: UInt32, values: Float32, out: Float32) -> None:
    """Add half of both neighbors (m, 2) along one axis; values and out are (m+1, c)."""
    for point in range(len(neighbors)):
        one, other = neighbors[point, 0], neighbors[point, 1]
        for c in range(values.shape[1]):
            out[point, c] = values[point, c] + np.float32(0.5) * (values[one, c] + values[other, c])


@compiled
def scale_listed(
    pixels: UInt32, factors: Float32, pixel_weights: Float32, first: int, last: int
) -> None:
    """Multiply some weights of the points' lists by the factors (n,) of their pixels, in place."""
    for entry in range(first, last):
        pixel_weights[entry] *= factors[pixels[entry]]


@compiled
def slice_one(
    corners: UInt32,
    weights: Float32,
    factors: Float32,
    values: Float32,
    gain: float,
    out: Float32,
    first: int,
    last: int,
) -> None:
    """Interpolate the values of some pixels from their corners, and add them to ``out``.

    Args:
        corners: (n, d+1).
        weights: (n, d+1).
        factors: (n,), one per pixel.
        values: (m+1, 1), at the lattice points.
        gain: factor of all pixels.
        out: (1, last - first or more); column 0 is pixel ``first``.
        first: first pixel.
        last: end of the pixels (exclusive).
    """
    for pixel in range(first, last):
        total = np.float32(0)
        for r in range(corners.shape[1]):
            total += weights[pixel, r] * values[corners[pixel, r], 0]
        out[0, pixel - first] += gain * factors[pixel] * total


@compiled
def slice_four(
    corners: UInt32,
    weights: Float32,
    factors: Float32,
    values: Float32,
    gain: float,
    out: Float32,
    first: int,
    last: int,
) -> None:
    """Do as `slice_one` for four channels: values (m+1, 4), out (4, last - first or more)."""
    for pixel in range(first, last):
        a = b = c = d = np.float32(0)
        for r in range(corners.shape[1]):
            weight, point = weights[pixel, r], corners[pixel, r]
            a += weight * values[point, 0]
            b += weight * values[point, 1]
            c += weight * values[point, 2]
            d += weight * values[point, 3]
        i, factor = pixel - first, gain * factors[pixel]
        out[0, i] += factor * a
        out[1, i] += factor * b
        out[2, i] += factor * c
        out[3, i] += factor * d
