"""Marginals of the two dense CRFs, and the labels of cells that the authors' code takes from them.

Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464), section 3.2. In the authors' code,
``infer_SEAM.py`` (psa: ``infer_cls.py``) writes the marginals of both CRFs, and ``VOC12AffDataset``
of ``voc12/data.py`` crops them, averages them over cells of 8 x 8 pixels and then takes the argmax.

A file holds half floats: two means that differ by less than 0.0005 may change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tag2mask.affinity.labels import agreed_labels
from tag2mask.artifacts.items import item_path
from tag2mask.classes import IGNORE
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.files.regular_file import read_regular

Float32 = npt.NDArray[np.float32]

NO_SCORE = 1e-5
"""Cells whose largest mean marginal is below it are outside the photo."""


def marginals_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's marginals in an ``affinity-labels`` folder."""
    return item_path(folder / "marginals", photo_id, ".safetensors")


def write_marginals(path: Path, strong: Float32, weak: Float32, tags: Sequence[int]) -> None:
    """Write the marginals of one photo, atomically.

    Args:
        path: the file; missing folders are created.
        strong: marginals (k+1, h, w) with the strong background in front, in [0, 1].
        weak: the same with the weak background.
        tags: the k tag ids, in rising order.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    arrays = {
        "marginals": np.stack([strong, weak]).astype("<f2"),
        "tags": np.array(tags, "<i4"),
    }
    with atomic_write(path, durable=False) as temporary, temporary.open("wb") as file:
        file.write(save(arrays))


def read_marginals(
    path: Path, size: tuple[int, int], num_classes: int
) -> tuple[tuple[int, ...], Float32]:
    """Read the marginals of one photo.

    Args:
        path: a file written by `write_marginals`.
        size: (h, w) of the photo, px.
        num_classes: foreground classes C.

    Returns:
        The k tag ids, and float32 (2, k+1, h, w): strong and weak background.

    Raises:
        DataError: missing, damaged, or of another photo or other classes.
    """
    fix = "Delete the file and run affinity-labels again: it computes only what is missing."
    try:
        arrays = load(read_regular(path))
        tags, marginals = arrays["tags"], arrays["marginals"]
    except FileNotFoundError:
        raise DataError("marginals of the CRFs are missing", where=path, fix=fix) from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"marginals can't be read: {reason}", where=path, fix=fix) from None
    ids = tags.ravel().tolist()
    if (
        (tags.dtype, marginals.dtype) != (np.dtype("<i4"), np.dtype("<f2"))
        or marginals.shape != (2, len(ids) + 1, *size)
        or not all(0 <= tag < num_classes for tag in ids)
        or not (marginals.min() >= 0 and marginals.max() <= 1)  # false for NaN
    ):
        raise DataError(
            f"marginals of shape {marginals.shape} for a photo of {size[1]}x{size[0]} px, with the "
            f"tags {ids} of {num_classes} classes",
            where=path,
            fix=fix,
        )
    return tuple(ids), marginals.astype(np.float32)


def cell_labels(marginals: Float32, tags: Sequence[int], stride: int) -> npt.NDArray[np.uint8]:
    """Label cells by the mean marginals of both CRFs, as in the authors' code.

    The means are compared as pixels are by `agreed_labels`. A cell that is partly outside the photo
    gets the label of the rest.

    Args:
        marginals: float32 (2, k+1, H, W): strong and weak background; 0 outside the photo.
        tags: the k tag ids, in rising order.
        stride: pixels per cell; pixels beyond the border count as outside the photo.

    Returns:
        Mask ids uint8 (ceil(H / stride), ceil(W / stride)); 0 background, 255 unsure or outside.

    Example:
        One cell of two pixels. The strong background loses by little at the first pixel and wins by
        far at the second, so by the mean it wins: the cell is unsure.

        >>> import numpy as np
        >>> from tag2mask.affinity.marginals import cell_labels
        >>> strong = [[[0.4, 0.9]], [[0.6, 0.1]]]
        >>> weak = [[[0.1, 0.3]], [[0.9, 0.7]]]
        >>> cell_labels(np.array([strong, weak], np.float32), tags=[6], stride=2).tolist()
        [[255]]
        >>> cell_labels(np.array([strong, weak], np.float32), tags=[6], stride=1).tolist()
        [[7, 255]]
    """
    height, width = marginals.shape[2:]
    padded = np.pad(marginals, ((0, 0), (0, 0), (0, -height % stride), (0, -width % stride)))
    rows, columns = padded.shape[2] // stride, padded.shape[3] // stride
    blocks = padded.reshape(*marginals.shape[:2], rows, stride, columns, stride)
    cells = blocks.mean(axis=(3, 5))  # (2, k+1, h, w)
    labels = agreed_labels(cells[0], cells[1], tags)
    labels[cells.max(axis=(0, 1)) < NO_SCORE] = IGNORE
    return labels
