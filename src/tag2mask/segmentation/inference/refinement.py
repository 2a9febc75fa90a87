"""Refine the probabilities of a photo before the argmax: restriction to tags, and dense CRF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tag2mask.classes import BACKGROUND, mask_id
from tag2mask.segmentation.inference.label_loops import (
    Float32,
    UInt8,
    channel_argmax,
    resize_maps,
)
from tag2mask.segmentation.inference.segmenter import Size, size_of
from tag2mask.segmentation.standalone.maps import scaled

if TYPE_CHECKING:
    from tag2mask.crf.dense_crf import CrfSettings

CRF_PIXELS = 1_000_000
"""Largest image, px, that the dense CRF is computed on; larger photos are resized to it."""


def restrict_to_tags(maps: Float32, tags: Sequence[int] | None) -> tuple[Float32, UInt8]:
    """Return the probabilities of background and tags, normalized to sum 1, and their mask ids.

    Args:
        maps: probabilities, float32 (C+1, h, w).
        tags: ids of the classes allowed besides the background; None: all, without a change.

    Returns:
        float32 (k, h, w) and uint8 (k,).
    """
    ids = mask_ids(tags, len(maps))
    if tags is None:
        return maps, ids
    scores = maps[ids]
    return scores / np.maximum(scores.sum(axis=0), np.finfo(np.float32).tiny), ids


def mask_ids(tags: Sequence[int] | None, channels: int) -> UInt8:
    """Return the mask ids of background and tags, uint8; None: those of all channels."""
    if tags is None:
        return np.arange(channels, dtype=np.uint8)
    return np.array([BACKGROUND, *(mask_id(tag) for tag in sorted(set(tags)))], np.uint8)


def apply_crf(
    scores: Float32, ids: UInt8, image: UInt8, settings: CrfSettings, *, all_classes: bool
) -> tuple[Float32, UInt8]:
    """Apply the dense CRF to the classes that are the argmax of at least one cell.

    Classes that have the largest score nowhere are dropped, because time and memory of the CRF
    grow with the number of classes. The authors' code keeps them.

    Args:
        scores: probabilities, float32 (k, h, w).
        ids: mask id of each channel, uint8 (k,).
        image: RGB, uint8 (H, W, 3).
        settings: settings of the dense CRF.
        all_classes: apply it to all classes (published).

    Returns:
        Marginals, float32 (k', H, W), and their mask ids, uint8 (k',).
    """
    argmax = channel_argmax(scores)
    if argmax is None:
        return scores, ids  # NaN: `LabelCanvas.write_labels` raises the error
    present = np.flatnonzero(np.bincount(argmax.ravel(), minlength=len(ids)) + all_classes)
    if len(present) == 1:
        return np.ones((1, *size_of(image)), np.float32), ids[present]
    from tag2mask.crf.dense_crf import DenseCrf  # here: prediction without a CRF starts faster

    crf = DenseCrf(image, settings)
    return crf.refine(resize_maps(scores[present], size_of(image))), ids[present]


def crf_size(size: Size) -> Size:
    """Return (h, w) of the image for the dense CRF of a photo of size (H, W)."""
    return scaled(size, min(1.0, math.sqrt(CRF_PIXELS / (size[0] * size[1]))))
