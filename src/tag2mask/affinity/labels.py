"""Label maps for AffinityNet: what two dense CRFs agree on, and which photos have sure pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.data.index import Sample
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError
from tag2mask.runtime.threads import ordered_map

Float32 = npt.NDArray[np.float32]


def label_path(folder: Path, photo_id: str) -> Path:
    """Label map of a photo in an ``affinity-labels`` folder."""
    return folder / "labels" / f"{photo_id}.png"


def agreed_labels(strong: Float32, weak: Float32, tags: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Labels that are sure (Ahn and Kwak, CVPR 2018, section 3.2.1).

    Foreground is what a class wins against the strong background; background is what the weak
    background wins, which overrides; all else is unsure.

    Args:
        strong: scores or marginals (k+1, h, w) with the strong background (the small α) in front.
        weak: the same with the weak background.
        tags: the k tag ids, rising.

    Returns:
        Mask ids uint8 (h, w); 255 unsure.
    """
    assert strong.shape == weak.shape and len(strong) == len(tags) + 1, (strong.shape, tags)
    ids = np.array([IGNORE, *(mask_id(tag) for tag in tags)], np.uint8)
    labels: npt.NDArray[np.uint8] = ids[strong.argmax(axis=0)]
    labels[weak.argmax(axis=0) == 0] = BACKGROUND
    return labels


def without_sure_pixels(samples: Sequence[Sample], folder: Path, num_classes: int) -> list[str]:
    """Ids of the photos whose label map is 255 all over.

    Args:
        samples: photos with label maps.
        folder: the ``affinity-labels`` folder.
        num_classes: C.

    Raises:
        DataError: a label map is missing or damaged, or of other classes.
    """

    def unsure(sample: Sample) -> bool:
        path = label_path(folder, sample.id)
        if not path.is_file():
            raise DataError(
                f"photo {sample.id!r} has no affinity labels",
                where=path,
                fix="Run affinity-labels again: it makes only what is missing.",
            )
        return bool((read_mask(path, num_classes) == IGNORE).all())

    found = ordered_map(unsure, samples)
    return [sample.id for sample, is_unsure in zip(samples, found, strict=True) if is_unsure]
