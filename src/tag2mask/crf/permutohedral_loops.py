"""The loops of the permutohedral lattice; `PermutohedralLattice` says what they are for.

Arrays are C-contiguous; n pixels, d features, m lattice points, and one row more for "no point",
whose values stay zero. A lattice point has d + 1 coordinates that sum to 0 and leave the same
remainder on division by d + 1; its key is the first d of them as the digits of one integer.
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
    """Place of a key in a table of 2^b places, or the free place (-1) where it belongs."""
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
    """Number keys by first appearance.

    Args:
        new: keys to number.
        count: keys in the table.
        keys: set, the table's keys by number.
        slots: set, the keys by slot.
        numbers: set, their numbers by slot.
        ids: set to the numbers of the new keys.

    Returns:
        Keys in the table now.
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
    """Find the simplexes that hold a block of pixels (algorithm 1 and section 3.1 of the paper).

    Args:
        features: (d, n).
        scale: (d,), of the features.
        first: first pixel.
        width: number of pixels.
        delta: set to the distances from the simplex's corner 0, (d+1, BLOCK).
        corner: set to that corner's coordinates, multiples of d + 1, (d+1, BLOCK).
        rank: set to the order of the distances, largest first, (d+1, BLOCK).
        steps: overwritten, (BLOCK,).
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
    for axis in range(dims + 1):  # The rounded coordinates summed to steps times d + 1, not to 0.
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
    """Find the corners and barycentric weights of some pixels.

    Args:
        features: (d, n).
        scale: (d,), of the features.
        digits: (d+1,), value of each coordinate in a key, the last one's 0.
        shift: added to every key.
        count: keys in the table of corners, as in `number_keys`.
        keys: of the table.
        slots: of the table.
        numbers: of the table.
        corners: set to the numbers of the corners, (n, d+1).
        weights: set to the barycentric weights, (n, d+1).
        first: first pixel, a multiple of BLOCK.
        last: end of the pixels.

    Returns:
        Keys in the table now.
    """
    dims = len(scale)
    side = dims + 1
    delta, corner = np.empty((side, BLOCK), np.float32), np.empty((side, BLOCK), np.float32)
    rank, steps = np.empty((side, BLOCK), np.int32), np.empty(BLOCK, np.int32)
    ordered, axis_of = np.empty(side, np.float32), np.empty(side, np.int64)
    # Neighboring pixels share most corners: remembering the last ones spares half the look-ups.
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
        keys: by number, of the table of points, as in `number_keys`.
        count: of the table.
        slots: of the table.
        numbers: of the table.
        digits: (d+1,), as in `embed`.
        neighbors: set to their numbers, ``count`` where there is none, (d+1, m, 2).
        first: first lattice point.
        last: end of the lattice points.
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
    """Renumber the corners of some pixels, and add up the pixels of each lattice point."""
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
        ends: (m,), where each point's next pixel goes; moved on.
        pixels: set, the lists of all points, one after the other.
        pixel_weights: set, as ``pixels``.
        first: first pixel.
        last: end of the pixels.
    """
    for pixel in range(first, last):
        for r in range(corners.shape[1]):
            place = ends[corners[pixel, r]]
            ends[corners[pixel, r]] = place + 1
            pixels[place] = pixel
            pixel_weights[place] = weights[pixel, r]


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
    """Sum the pixels' values (n, 1) at some lattice points of ``out`` (m+1, 1)."""
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
    """`splat_one` for four channels, kept in registers: values (n, 4), out (m+1, 4)."""
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
    """Add half of both neighbors (m, 2) along an axis: values and out (m+1, c)."""
    for point in range(len(neighbors)):
        one, other = neighbors[point, 0], neighbors[point, 1]
        for c in range(values.shape[1]):
            out[point, c] = values[point, c] + np.float32(0.5) * (values[one, c] + values[other, c])


@compiled
def scale_listed(
    pixels: UInt32, factors: Float32, pixel_weights: Float32, first: int, last: int
) -> None:
    """Multiply some listed weights by the factors (n,) of their pixels."""
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
    """Add to some pixels what their corners hold.

    Args:
        corners: (n, d+1).
        weights: (n, d+1).
        factors: (n,), of the pixels.
        values: (m+1, 1).
        gain: factor of all pixels.
        out: (1, last - first or more), begins with pixel ``first``.
        first: first pixel.
        last: end of the pixels.
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
    """`slice_one` for four channels: values (m+1, 4), out (4, >=)."""
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
