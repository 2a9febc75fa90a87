"""Masks that formats of other tools must hold, for tests of their writers and readers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tag2mask.classes import ClassSet
from tag2mask.formats.annotations import AnnotatedPhoto, MaskedPhoto

CLASSES = ClassSet(("dog", "traffic light", "犬: <&>"))


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Return masks uint8 (h, w) with several parts, holes, lines of 1 px, and ignored pixels."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = np.zeros((height, width), np.uint8)
    for value in draw(st.lists(st.sampled_from([0, 1, 2, 3, 255]), max_size=8)):
        top, left = random.integers(height), random.integers(width)
        mask[top : top + random.integers(1, 9), left : left + random.integers(1, 9)] = value
    noise = random.random((height, width)) < draw(st.sampled_from([0.0, 0.0, 0.1, 0.5]))
    mask[noise] = random.choice([0, 1, 2, 3, 255], (height, width))[noise]
    return mask


def masked_photo(
    name: str, mask: np.ndarray, split: str = "train", score: float | None = None
) -> MaskedPhoto:
    """Return a photo to export."""
    size = mask.shape[1], mask.shape[0]
    return MaskedPhoto(name.rpartition(".")[0], name, split, size, score, lambda: mask)


def known(mask: np.ndarray) -> np.ndarray:
    """Return a mask whose ignored pixels are background."""
    return np.where(mask == 255, np.uint8(0), mask)


def combined(photo: AnnotatedPhoto, classes: ClassSet = CLASSES) -> np.ndarray:
    """Return the mask of the regions that a reader found, which must not overlap."""
    assert photo.size is not None
    mask = np.zeros(photo.size[::-1], np.uint8)
    for region in photo.regions:
        assert region.mask is not None
        inside = region.mask()
        assert inside.shape == mask.shape and inside.dtype == np.bool_
        assert not mask[inside].any()
        mask[inside] = 255 if region.label == "ignore" else classes.names.index(region.label) + 1
    return mask
