"""Masks of VOC and CVAT: palette or gray PNGs of values, or the colors of a label map."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.classes import IGNORE, name_kind
from tag2mask.errors import DataError
from tag2mask.formats.annotations import IGNORE_LABEL, Region
from tag2mask.formats.pixels.gray_masks import opened_mask
from tag2mask.formats.pixels.opening import load_pixels
from tag2mask.formats.pixels.palette_image import IGNORE_COLOR
from tag2mask.formats.pixels.stored_values import load_values
from tag2mask.formats.text_files.readable import file_state
from tag2mask.formats.voc.label_map import LABEL_MAP, LabelMap

_UNKNOWN = 256
"""Number of a color of no label."""


def mask_regions(path: Path, labels: LabelMap) -> tuple[tuple[int, int], tuple[Region, ...]]:
    """Return a mask's (width, height), and a region for each of its labels but background.

    Pixels of VOC's border color or the value 255 have the label ``ignore``. The file is read again
    where a region's pixels are asked for.

    Raises:
        DataError: it can't be read, or has values or colors of no label.
    """
    values = label_values(path, labels)
    regions = []
    for value in np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist():
        name = IGNORE_LABEL if value == IGNORE else labels.names[value]
        if name_kind(name) != "background":
            regions.append(Region(name, None, "mask", partial(_pixels_of, path, labels, value)))
    return (values.shape[1], values.shape[0]), tuple(regions)


def _pixels_of(path: Path, labels: LabelMap, value: int) -> NDArray[np.bool_]:
    pixels: NDArray[np.bool_] = _recent_values(path, labels, file_state(path)) == value
    return pixels


@lru_cache(maxsize=1)
def _recent_values(
    path: Path, labels: LabelMap, state: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Read a mask once for all its regions, which are usually asked for one after another.

    ``state`` is that of the file, so that a replaced one is read again.
    """
    return label_values(path, labels)


def label_values(path: Path, labels: LabelMap) -> NDArray[np.uint8]:
    """Return the number of each pixel's label, uint8 (h, w), 255 ignore.

    Raises:
        DataError: it can't be read, or has values or colors of no label.
    """
    with opened_mask(path) as image:
        if image.mode in ("P", "L", "1"):
            stored = np.asarray(load_values(image)).astype(np.uint8)
            return _values_of_table(stored, _colors_of(image), labels, path)[stored]
        if image.mode in ("RGB", "RGBA"):
            load_pixels(image)
            return _values_of_colors(np.asarray(image.convert("RGB")), labels, path)
        raise DataError(
            f"mask is an image of mode {image.mode}", where=path, fix="Export it again as PNG."
        )


def _colors_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the color of each value of an image of one channel, (256, 3)."""
    colors = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    if image.mode == "P":
        flat = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
        colors[: len(flat)] = flat
    return colors


def _values_of_table(
    stored: NDArray[np.uint8], colors: NDArray[np.uint8], labels: LabelMap, path: Path
) -> NDArray[np.uint8]:
    """Return the label of each stored value, (256,): by their colors if all are listed.

    Raises:
        DataError: a value of no label, or it is unsure which value is the background.
    """
    used = np.flatnonzero(np.bincount(stored.ravel(), minlength=256))
    if labels.colors is not None:
        by_color = _labels_of(colors, labels)
        by_color[IGNORE] = IGNORE if by_color[IGNORE] == _UNKNOWN else by_color[IGNORE]
        if not (by_color[used] == _UNKNOWN).any():
            return by_color.astype(np.uint8)
    foreign = [int(value) for value in used if value >= len(labels.names) and value != IGNORE]
    if foreign:
        raise DataError(
            f"mask has the value {foreign[0]}, color {tuple(colors[foreign[0]].tolist())}, of no "
            f"label; there are {len(labels.names)}",
            where=path,
            fix=f"List the label with its color in {LABEL_MAP}.",
        )
    if not labels.values_are_sure:
        raise DataError(
            f"mask has values, not the colors of {LABEL_MAP}, whose first label is not the "
            f"background: 0 may mean the background or {labels.names[0]!r}",
            where=path,
            fix=f"In {LABEL_MAP}, put the background first, and the classes in the order of their "
            "values in masks.",
        )
    return np.arange(256, dtype=np.uint8)


def _values_of_colors(pixels: NDArray[np.uint8], labels: LabelMap, path: Path) -> NDArray[np.uint8]:
    """Return the label of each pixel (h, w, 3)."""
    if labels.colors is None:
        raise DataError(
            "mask is color-coded, and no list says which color is which class",
            where=path,
            fix=f"Add CVAT's {LABEL_MAP}, with a color for each class.",
        )
    values = _labels_of(pixels, labels)
    if (values == _UNKNOWN).any():
        color = tuple(pixels[values == _UNKNOWN][0].tolist())
        raise DataError(
            f"mask has the color {color} of no label",
            where=path,
            fix=f"List the label with this color in {LABEL_MAP}.",
        )
    return values.astype(np.uint8)


def _labels_of(colors: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint16]:
    """Return the numbers of the labels of colors (..., 3); VOC's border is 255."""
    assert labels.colors is not None
    codes = (colors.astype(np.uint32) * np.array([1 << 16, 1 << 8, 1], np.uint32)).sum(-1)
    found = np.full(codes.shape, _UNKNOWN, np.uint16)
    for value, color in [(IGNORE, IGNORE_COLOR), *enumerate(labels.colors)]:
        found[codes == (color[0] << 16 | color[1] << 8 | color[2])] = value
    return found
