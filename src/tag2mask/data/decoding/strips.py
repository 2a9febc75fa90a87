"""Images in strips of rows: work on an image takes no copy of all its pixels."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

STRIP_PIXELS = 1 << 20
"""Pixels of a strip."""


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield (rows, part) from top to bottom; a small image is one part."""
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    if rows >= image.height:
        yield slice(0, image.height), image
        return
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))
