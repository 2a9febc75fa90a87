"""COCO's outlines: polygons and run-length codes.

Tools write polygons as lists of lists, or one as a flat list; objects without an outline have none,
``[]``, ``[[]]``, a box or points.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tag2mask.formats.pixels.run_lengths import MOST_PIXELS, pixels_of_runs

_NUMBERS = frozenset({int, float})
_FARTHEST = 1e7
"""px; no photo that can be read has a longer side."""
_MOST_BITS = 35
"""Of a compressed number: seven characters. A photo has less than 2 ** 30 pixels."""


def has_area(segmentation: Any) -> bool:
    """Return whether an outline may enclose pixels: a run-length code, or a polygon of 3 corners.

    Anything that isn't a list may, too: it is damaged, not left out.
    """
    if isinstance(segmentation, list):
        return any(not isinstance(p, list) or len(p) >= 6 for p in _polygons(segmentation))
    return bool(segmentation)


class Extent(NamedTuple):
    """What the photo of outlines must cover."""

    reach: tuple[float, float] = (0, 0)
    """The largest distance of a corner from the left and from the upper border, px."""
    run_sizes: frozenset[tuple[int, int]] = frozenset()
    """(h, w) px of the run-length codes."""

    def around(self, other: Extent) -> Extent:
        """Return what covers both."""
        if self == NO_EXTENT:
            return other
        reach = max(self.reach[0], other.reach[0]), max(self.reach[1], other.reach[1])
        return Extent(reach, self.run_sizes | other.run_sizes)

    def misfit(self, size: tuple[int, int]) -> str:
        """Return why outlines can't be of a photo of ``size`` (h, w); empty: they may be."""
        height, width = size
        for side, reach in ((width, self.reach[0]), (height, self.reach[1])):
            # Outlines in tiles cut from large photos reach far over the border.
            if reach > max(10 * side, 10_000):
                return f"the coordinate {reach:g} is far outside of the photo, {width}x{height} px"
        for other in self.run_sizes - {size}:
            return f"the size {list(other)} of a run-length code is not the photo's {list(size)}"
        return ""


NO_EXTENT = Extent()


def outline_extent(segmentation: Any) -> Extent:
    """Return what an outline covers; draws nothing.

    Args:
        segmentation: the member of that name of an annotation.

    Raises:
        ValueError: a damaged outline, also one on which pycocotools would crash or return garbage.
    """
    if isinstance(segmentation, dict):
        return Extent(run_sizes=frozenset({_run_size(segmentation, _runs(segmentation))}))
    if not isinstance(segmentation, list):
        raise ValueError(
            f"{str(segmentation)[:40]!r} is neither a list of polygons nor a run-length code"
        )
    extents = [_polygon_extent(polygon) for polygon in _polygons(segmentation)]
    return reduce(Extent.around, extents, NO_EXTENT)


def draw_outline(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Draw polygons, or a run-length code in either form.

    Args:
        segmentation: the member of that name of an annotation.
        height: of the photo, px.
        width: of the photo, px.

    Returns:
        bool (h, w): True inside the outline.

    Raises:
        ValueError: a damaged outline, also one on which pycocotools would crash or return garbage.
    """
    misfit = outline_extent(segmentation).misfit((height, width))
    if misfit:
        raise ValueError(misfit)
    if height * width > MOST_PIXELS:
        raise ValueError(f"{width}x{height} px are more than a photo has")
    if isinstance(segmentation, dict):
        # Not by pycocotools: runs that end too soon make it read uninitialized memory.
        pixels = pixels_of_runs(_runs(segmentation), height * width)
        return pixels.reshape((width, height)).T
    # Fewer than three corners have no area; pycocotools would read four numbers as a box.
    polygons = [p for p in _polygons(segmentation) if len(p) >= 6]
    if not polygons:
        return np.zeros((height, width), np.bool_)
    code = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    inside: NDArray[np.bool_] = coco_mask.decode(code).astype(np.bool_)
    return inside


def _polygons(segmentation: list[Any]) -> list[Any]:
    """Return the polygons of an outline; some tools write a single one as a flat list."""
    is_flat = bool(segmentation) and _NUMBERS.issuperset(map(type, segmentation))
    return [segmentation] if is_flat else segmentation


def _polygon_extent(polygon: Any) -> Extent:
    """Return what a polygon covers; refuse one that pycocotools can't fill."""
    if not isinstance(polygon, list) or not _NUMBERS.issuperset(map(type, polygon)):
        raise ValueError("a polygon is a list of numbers: x and y of one corner after the other")
    if len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers, which should be pairs of x and y")
    if not polygon:
        return NO_EXTENT
    x, y = polygon[::2], polygon[1::2]
    reach = max(max(x), -min(x)), max(max(y), -min(y))
    # pycocotools' memory grows with the length of an outline in pixels; a sum with NaN is NaN.
    if max(reach) > _FARTHEST or math.isnan(sum(polygon)):
        far = next(number for number in polygon if not -_FARTHEST <= number <= _FARTHEST)
        raise ValueError(f"the coordinate {str(far)[:20]} is far outside of any photo")
    return Extent(reach)


def _runs(segmentation: dict[str, Any]) -> list[int]:
    """Return the lengths of the runs outside and inside in turn, column by column."""
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        runs = _decompress_runs(counts)
    elif isinstance(counts, list) and all(
        type(n) is int or (type(n) is float and n.is_integer()) for n in counts
    ):
        runs = [int(n) for n in counts]
    else:
        raise ValueError("its counts are neither a string nor a list of whole numbers")
    if min(runs, default=0) < 0:
        raise ValueError("some of its counts are negative")
    return runs


def _run_size(segmentation: dict[str, Any], runs: list[int]) -> tuple[int, int]:
    """Return the (h, w) of a run-length code, which its runs must fill."""
    size = segmentation.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int for n in size):
        raise ValueError(f"its size {str(size)[:40]} is not [height, width]")
    if sum(runs) != size[0] * size[1]:
        raise ValueError(
            f"its counts come to {sum(runs)} pixels, its size {size} to {size[0] * size[1]}"
        )
    return size[0], size[1]


def _decompress_runs(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed form.

    A number is a sequence of characters of five bits each, the lowest first. The sixth bit of a
    character says that more follow; the fifth bit of the last one is the sign. From the fourth run
    on, the number is the difference to the run two before.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its counts contain the character {character!r}")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift == _MOST_BITS:
                raise ValueError("its counts contain a number that is too long")
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("its counts are cut off")
    return runs
