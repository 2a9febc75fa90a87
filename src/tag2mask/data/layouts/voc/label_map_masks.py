"""Masks read by the colors of CVAT's ``labelmap.txt``: color-coded, or palettes in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import BACKGROUND, IGNORE, mask_id, name_kind
from tag2mask.errors import DataError
from tag2mask.formats.pixels.gray_masks import opened_mask
from tag2mask.formats.voc.label_map import LabelMap
from tag2mask.formats.voc.mask_images import label_values


class LabelMapDrawer:
    """Reads masks by the colors of a label map (a `MaskDrawer`).

    Args:
        labels: the labels with their colors.
    """

    def __init__(self, labels: LabelMap) -> None:
        self._labels = labels
        self._values = np.full(256, IGNORE, np.uint8)
        for number, name in enumerate(labels.names):
            if name in labels.classes:
                self._values[number] = mask_id(labels.classes.index(name))
            elif name_kind(name) == "background":
                self._values[number] = BACKGROUND
        self._paths: dict[str, Path] = {}

    def add(self, id: str, path: Path) -> None:
        """Add a photo and the file of its mask."""
        self._paths[id] = path

    def misfit(self, id: str, size: tuple[int, int]) -> str:
        """Return why a mask can't be that of a photo of ``size`` (h, w), by its header."""
        path = self._paths[id]
        try:
            with opened_mask(path) as image:
                width, height = image.size
        except DataError:  # `draw` reports it
            return ""
        if (height, width) == size:
            return ""
        return (
            f"mask of photo {id!r} has a different size: {width}x{height} in {path.name}, photo "
            f"{size[1]}x{size[0]} px"
        )

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the mask of a photo, uint8 (h, w), of the size that its file has.

        Raises:
            DataError: it can't be read, or has colors of no label.
        """
        mask: NDArray[np.uint8] = self._values[label_values(self._paths[id], self._labels)]
        return mask
