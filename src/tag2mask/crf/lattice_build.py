"""Compiled loops that build a permutohedral lattice, see `PermutohedralLattice`.

Arrays are C-contiguous. n pixels, d features, m lattice points; arrays of lattice points have one
more row for "no such point", whose values stay zero.

A lattice point has d + 1 coordinates that sum to 0 and have the same remainder modulo d + 1. Its
key is one integer whose digits are the first d coordinates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tag2mask.runtime.compiled import BLOCK, compiled

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt32 = npt.NDArray[np.uint32]


@compiled
def slot(slots: Int64, key: int) -> int:
    """Return the index of a key in a hash table of 2^b slots, or of the free slot (-1) for it."""
    mask = len(slots) - 1
    mixed = key * 0x1E3779B97F4A7C15
    place = (mixed ^ (mixed >> 32)) & mask
    while slots[place] != key and slots[place] != -1:
        place = (place + 1) & mask
    return place


@compiled
def number_keys(
    new: Int64, count: int, keys: Int64, slots: Int64, numbers: UInt32, ids: UInt32
) -> int:
    """Number keys in the order of their first appearance, and add them to a table.

    Args:
        new: keys to number.
        count: number of keys in the table so far.
        keys: the table's keys by number; extended.
        slots: the keys by slot, -1 where free; extended.
        numbers: their numbers by slot; extended.
        ids: written, the numbers of the new keys.

    Returns:
        Number of keys in the table.
    """
    for i in range(len(new)):
        place = slot(slots, new[i])
        if slots[place] == -1:
            slots[place], numbers[place], keys[count] = new[i], count, new[i]
            count += 1
        ids[i] = numbers[place]
    return count


@compiled
def place_block(
    features: Float32,
    scale: Float32,
    first: int,
    width: int,
    delta: Float32,
    corner: Float32,
    rank: Int32,
    steps: Int32,
) -> None:
    """Find the simplexes that contain a block of pixels (algorithm 1 and section 3.1 of the paper).

    Args:
        features: (d, n).
        scale: (d,), factors of the features.
        first: first pixel.
        width: number of pixels.
        delta: (d+1, BLOCK), written: distances from corner 0 of the simplex.
        corner: (d+1, BLOCK), written: coordinates of this corner, multiples of d + 1.
        rank: (d+1, BLOCK), written: ranks of the distances, largest first.
        steps: (BLOCK,), working memory.
    """
    dims = len(scale)
    side, inverse = np.float32(dims + 1), np.float32(1 / (dims + 1))
    for i in range(width):
        delta[0, i] = np.float32(0)
        steps[i] = 0
    for axis in range(dims, 0, -1):  # onto the hyperplane whose coordinates sum to 0
        for i in range(width):
            scaled = features[axis - 1, first + i] * scale[axis - 1]
            delta[axis, i] = delta[0, i] - np.float32(axis) * scaled
            delta[0, i] += scaled
    for axis in range(dims + 1):
        for i in range(width):
            step = np.floor(delta[axis, i] * inverse + np.float32(0.5))
            corner[axis, i] = step * side
            delta[axis, i] -= step * side
            steps[i] += np.int32(step)
            rank[axis, i] = 0
    for axis in range(dims):
        for other in range(axis + 1, dims + 1):
            for i in range(width):
                smaller = np.int32(delta[axis, i] < delta[other, i])
                rank[axis, i] += smaller
                rank[other, i] += np.int32(1) - smaller
    for axis in range(dims + 1):  # the rounded coordinates sum to steps * (d + 1), not to 0
        for i in range(width):
            shifted = rank[axis, i] + steps[i]
            turn = np.int32(shifted < 0) - np.int32(shifted > dims)
            rank[axis, i] = shifted + turn * np.int32(dims + 1)
            corner[axis, i] += np.float32(turn) * side
            delta[axis, i] -= np.float32(turn) * side


@compiled
def embed(
    features: Float32,
    scale: Float32,
    digits: Int64,
    shift: int,
    count: int,
    keys: Int64,
    slots: Int64,
    numbers: UInt32,
    corners: UInt32,
    weights: Float32,
    first: int,
    last: int,
) -> int:
    """Find the simplex corners and barycentric weights of some pixels.

    Args:
        features: (d, n).
        scale: (d,), factors of the features.
        digits: (d+1,), place value of each coordinate in a key; 0 for the last one.
        shift: added to every key.
        count: number of keys in the table of corners, see `number_keys`.
        keys: keys of the table.
        slots: slots of the table.
        numbers: numbers of the table.
        corners: (n, d+1), written: numbers of the corners.
        weights: (n, d+1), written: barycentric weights.
        first: first pixel, a multiple of BLOCK.
        last: end of the pixels (exclusive).

    Returns:
        Number of keys in the table.
    """
    dims = len(scale)
    side = dims + 1
    delta, corner = np.empty((side, BLOCK), np.float32), np.empty((side, BLOCK), np.float32)
    rank, steps = np.empty((side, BLOCK), np.int32), np.empty(BLOCK, np.int32)
    ordered, axis_of = np.empty(side, np.float32), np.empty(side, np.int64)
    # Neighboring pixels share most corners: caching the last ones saves half of the lookups.
    last_key, last_number = np.empty(side, np.int64), np.empty(side, np.uint32)
    whole_step = 0
    for axis in range(side):
        last_key[axis] = -1
        whole_step += digits[axis]
    for begin in range(first, last, BLOCK):
        width = min(BLOCK, last - begin)
        place_block(features, scale, begin, width, delta, corner, rank, steps)
        for i in range(width):
            key, pixel = shift, begin + i
            for axis in range(side):
                ordered[rank[axis, i]] = delta[axis, i] / np.float32(side)
                axis_of[rank[axis, i]] = axis
                key += digits[axis] * np.int64(corner[axis, i])
            for r in range(side):
                if r == 0:
                    weights[pixel, 0] = np.float32(1) + ordered[dims] - ordered[0]
                else:
                    weights[pixel, r] = ordered[dims - r] - ordered[side - r]
                    key += whole_step - side * digits[axis_of[side - r]]
                if key != last_key[r]:
                    place = slot(slots, key)
                    if slots[place] == -1:
                        slots[place], numbers[place], keys[count] = key, count, key
                        count += 1
                    last_key[r], last_number[r] = key, numbers[place]
                corners[pixel, r] = last_number[r]
    return count


@compiled
def find_neighbors(
    keys: Int64,
    count: int,
    slots: Int64,
    numbers: UInt32,
    digits: Int64,
    neighbors: UInt32,
    first: int,
    last: int,
) -> None:
    """Find the two neighbors of some lattice points along each axis.

    Args:
        keys: keys of the table of points by number, see `number_keys`.
        count: number of keys in the table.
        slots: slots of the table.
        numbers: numbers of the table.
        digits: (d+1,), see `embed`.
        neighbors: (d+1, m, 2), written: their numbers, ``count`` where there is none.
        first: first lattice point.
        last: end of the lattice points (exclusive).
    """
    whole_step = 0
    for axis in range(len(digits)):
        whole_step += digits[axis]
    for axis in range(len(digits)):
        step = len(digits) * digits[axis] - whole_step
        for point in range(first, last):
            for side in range(2):
                key = keys[point] + step * (1 - 2 * side)
                place = slot(slots, key)
                neighbors[axis, point, side] = numbers[place] if slots[place] == key else count


@compiled
def count_pixels(corners: UInt32, numbers: UInt32, counts: Int64, first: int, last: int) -> None:
    """Renumber the corners of some pixels in place, and count the pixels of each lattice point."""
    for pixel in range(first, last):
        for r in range(corners.shape[1]):
            point = numbers[corners[pixel, r]]
            corners[pixel, r] = point
            counts[point] += 1


@compiled
def list_pixels(
    corners: UInt32,
    weights: Float32,
    ends: Int64,
    pixels: UInt32,
    pixel_weights: Float32,
    first: int,
    last: int,
) -> None:
    """Append some pixels, with their weights, to the lists of their lattice points.

    Args:
        corners: (n, d+1).
        weights: (n, d+1).
        ends: (m,), index of the next free entry of each point's list; advanced.
        pixels: written, the concatenated lists of all points.
        pixel_weights: written, weights in the order of ``pixels``.
        first: first pixel.
        last: end of the pixels (exclusive).
    """
    for pixel in range(first, last):
        for r in range(corners.shape[1]):
            place = ends[corners[pixel, r]]
            ends[corners[pixel, r]] = place + 1
            pixels[place] = pixel
            pixel_weights[place] = weights[pixel, r]
