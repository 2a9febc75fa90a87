"""Plain values between this package and the files of annotation tools.

A reader of a format yields one `AnnotatedPhoto` per photo that its file describes; a writer takes
one `MaskedPhoto` per photo and returns an `ExportResult`. Masks are decoded one at a time, when
they are asked for, so neither side holds those of a whole data set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import name_kind

IGNORE_LABEL = "ignore"
"""Label of a region whose pixels are neither a class nor background for sure: 255 in masks."""
PHOTO_ID = "photo_id"
"""Member or column of exported files with the id of a photo."""
SizeOf = Callable[[str], tuple[int, int]]
"""Returns the (width, height) of a photo, px, by its name in a file."""
RegionKind = Literal["mask", "polygon", "box"]
"""How a tool stored a region; a box has no mask."""


@dataclass(frozen=True, slots=True)
class Region:
    """One labeled part of a photo.

    Attributes:
        label: its class, as the file writes it.
        score: confidence of the model that made it; None: drawn, or the file has none; NaN: what
            the file has is no number.
        kind: how the file stores it.
        mask: returns bool (h, w), as large as the photo; None for a box. It reads the file again,
            so that the regions of a whole data set take little memory, and raises a `DataError`
            where the stored mask is damaged.
    """

    label: str
    score: float | None
    kind: RegionKind
    mask: Callable[[], NDArray[np.bool_]] | None


@dataclass(frozen=True)
class AnnotatedPhoto:
    """What a file of another tool says of one photo.

    Attributes:
        file_name: the photo as the file writes it: a name, a path or a URL. Which local photo that
            is, is decided by the caller.
        size: (width, height) px as the file writes it; None: it doesn't.
        split: name of the split as the file writes it, such as ``valid``; None: none.
        tags: image-level labels.
        regions: labeled parts, in the order of the file.
        id: the photo's id in the data that its mask was exported from; None: not in the file. The
            name of an exported photo may mean another photo of that data.
    """

    file_name: str
    size: tuple[int, int] | None
    split: str | None
    tags: tuple[str, ...]
    regions: tuple[Region, ...]
    id: str | None = None


class ShownLabels(NamedTuple):
    """Which labels of a photo have pixels, over all that files say of it."""

    tags: tuple[str, ...] = ()
    """Image-level labels."""
    shown: tuple[str, ...] = ()
    """Labels of regions with pixels."""
    has_boxes: bool = False
    """Whether a region has none."""

    def plus(self, tags: Iterable[str], regions: Iterable[Region]) -> ShownLabels:
        """Return these with what one more item says of the photo."""
        labels, has_boxes = [*self.shown], self.has_boxes
        for region in regions:
            if region.mask is None:
                has_boxes = True
            else:
                labels.append(region.label)
        all_tags = dict.fromkeys((*self.tags, *tags))
        return ShownLabels(tuple(all_tags), tuple(dict.fromkeys(labels)), has_boxes)

    @property
    def has_mask(self) -> bool:
        """Whether the regions are all that the photo shows: what is outside is background.

        Each region must have pixels, and each image-level label that is a class a region. A photo
        without labels shows background alone.
        """
        return not self.has_boxes and all(
            tag in self.shown or name_kind(tag) != "class" for tag in self.tags
        )


@dataclass(frozen=True)
class MaskedPhoto:
    """One photo with its mask, to be written.

    Attributes:
        id: the photo's id: a relative path without suffix, with ``/`` between folders.
        file_name: the photo's file, relative to the folder of the exported photos.
        split: ``train`` or ``val``.
        size: (width, height) px.
        score: quality score of the mask, 0 to 1; None: unknown.
        mask: returns uint8 (h, w): 0 background, ``1 .. C`` classes, 255 ignore.
    """

    id: str
    file_name: str
    split: str
    size: tuple[int, int]
    score: float | None
    mask: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class ExportResult:
    """What a writer has written.

    Attributes:
        photos: number of photos written, those with an empty mask included.
        left_out_pixels: ignored pixels (255), where the format can't hold them.
        notes: what else the user should know, one sentence each.
    """

    photos: int
    left_out_pixels: int = 0
    notes: tuple[str, ...] = ()


def exported_id(values: Mapping[str, Any]) -> str | None:
    """Return the id that an export of this package has written among the values of a photo."""
    id = values.get(PHOTO_ID)
    return id if isinstance(id, str) else None


def score_of(value: object) -> float | None:
    """Return a score as files write it, a number or a text.

    Returns:
        None: there is none. NaN: it is no number, such as ``0,9`` or ``90%``. That is no error of
        the file: only who compares scores needs them.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def label_text(value: object) -> str:
    """Return the name of a class as files write it, a text or a number, without spaces around it.

    Raises:
        ValueError: as `name_text`.
    """
    return name_text(value).strip()


def name_text(value: object) -> str:
    """Return the name of a photo as files write it: a text, or a number.

    >>> name_text(7)
    '7'

    Raises:
        ValueError: null, true or false, a list or an object, which are no names: YAML reads ``no``
            without quotes as false.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    shown = "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        shown = json.dumps(value)
    raise ValueError(f"{shown} is no name; write a text in quotes")
