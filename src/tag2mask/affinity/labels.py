"""Label maps for AffinityNet, from two dense CRFs, and which photos have labeled pixels.

Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464), section 3.2. In the authors' code,
``infer_cls.py`` writes both CRFs (SEAM: ``infer_SEAM.py``) and ``VOC12AffDataset`` of
``voc12/data.py`` combines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tag2mask.artifacts.items import item_path
from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.data.index import Sample
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError
from tag2mask.runtime.threads import ordered_map

Float32 = npt.NDArray[np.float32]


def label_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's label map in an ``affinity-labels`` folder."""
    return item_path(folder / "labels", photo_id, ".png")


def agreed_labels(strong: Float32, weak: Float32, tags: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Label the pixels on which two dense CRFs agree (section 3.2).

    A pixel is foreground where a class wins against the strong background (small α, 4 in SEAM), and
    background where the weak background (large α, 24 in SEAM) wins. If both hold it is background.
    All other pixels are unsure.

    Args:
        strong: scores or marginals (k+1, h, w) with the strong background in front.
        weak: the same with the weak background.
        tags: the k tag ids, in rising order.

    Returns:
        Mask ids uint8 (h, w); 0 background, 255 unsure.

    Example:
        >>> import numpy as np
        >>> from tag2mask.affinity.labels import agreed_labels
        >>> cam = np.array([[[0.02, 0.2, 0.6]]], np.float32)  # one class, three pixels
        >>> strong, weak = (np.concatenate([(1 - cam) ** alpha, cam]) for alpha in (4, 24))
        >>> agreed_labels(strong, weak, tags=[7]).tolist()  # background, unsure, mask id 8
        [[0, 255, 8]]
    """
    assert strong.shape == weak.shape and len(strong) == len(tags) + 1, (strong.shape, tags)
    ids = np.array([IGNORE, *(mask_id(tag) for tag in tags)], np.uint8)
    labels: npt.NDArray[np.uint8] = ids[strong.argmax(axis=0)]
    labels[weak.argmax(axis=0) == 0] = BACKGROUND
    return labels


def without_sure_pixels(samples: Sequence[Sample], folder: Path, num_classes: int) -> list[str]:
    """Return the ids of the photos whose label map is 255 everywhere.

    Args:
        samples: photos with label maps.
        folder: the ``affinity-labels`` folder.
        num_classes: foreground classes C.

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
