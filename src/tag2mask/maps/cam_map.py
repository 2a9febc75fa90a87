"""`CamMap`, the activation maps of one photo, and its file.

A map is smooth and is read back only to be compared with thresholds, so it is kept small: scores at
a stride, in bytes (steps of 1/255) or half floats, deflated. At stride 4 that is about 1/70 of
float32 at full size (half floats: 1/40), at stride 2 about 1/20 (1/10); bytes at stride 1 come to
about 1/8, and half floats there above it. Reading takes less than a millisecond.

The file is a numpy ``.npz`` without pickles, readable by anybody with ``numpy.load``: ``id``,
``tags``, ``scores``, ``size``, ``probabilities``.
"""

from __future__ import annotations

import io
import threading
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tag2mask.artifacts.files import atomic_write
from tag2mask.errors import DataError

MAP_SUFFIX = ".npz"
MapDtype = Literal["uint8", "float16"]
_PARSING = threading.Lock()
"""NumPy parses headers with `ast`, which Python 3.11 mixes up when several threads do so at once
(SystemError: AST constructor recursion depth mismatch)."""


@dataclass(frozen=True, eq=False)
class CamMap:
    """Activation maps of one photo, foreground only.

    Args:
        id: the sample's id.
        tags: k tag ids, rising; the classes that have a map.
        scores: float32 (k, h, w) in [0, 1], at the stored stride.
        size: the upright photo's (h, w), px.
        probabilities: float32 (C,) in [0, 1], the classifier's tag probabilities.

    Raises:
        DataError: shapes that don't agree, tags outside the classes, NaN or values outside [0, 1].
    """

    id: str
    tags: tuple[int, ...]
    scores: NDArray[np.float32]
    size: tuple[int, int]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise DataError(f"map of {self.id!r}: {problem}")

    def _problem(self) -> str | None:
        k, classes = len(self.tags), self.probabilities.shape
        if self.scores.ndim != 3 or len(classes) != 1:
            return f"scores of shape {self.scores.shape}, probabilities of shape {classes}"
        if self.scores.shape[0] != k:
            return f"{self.scores.shape[0]} score channels for {k} tags"
        if list(self.tags) != sorted(set(self.tags)):
            return f"tags {self.tags} don't rise"
        if k and not 0 <= self.tags[0] <= self.tags[-1] < classes[0]:
            return f"tags {self.tags} outside the {classes[0]} classes"
        if min(self.size) < 1 or min(self.scores.shape[1:]) < 1:
            return f"an empty size: photo {self.size}, scores {self.scores.shape}"
        for name, values in (("scores", self.scores), ("probabilities", self.probabilities)):
            # NaN fails both comparisons.
            if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
                return f"{name} hold NaN or values outside [0, 1]"
        return None

    def full_scores(self) -> NDArray[np.float32]:
        """Scores at the photo's size, float32 (k, H, W); bilinear, align_corners=False."""
        if not self.tags:
            return np.zeros((0, *self.size), np.float32)
        if self.scores.shape[1:] == self.size:
            return self.scores
        resized = functional.interpolate(
            torch.from_numpy(self.scores)[None],
            size=self.size,
            mode="bilinear",
            align_corners=False,
        )
        full: NDArray[np.float32] = resized[0].numpy()
        return full

    def as_stored(self, dtype: MapDtype = "uint8") -> CamMap:
        """The map that `read_map` gives back once `write_map` has stored this one."""
        return replace(self, scores=_unpacked(_packed(self.scores, dtype)))

    @property
    def certainty(self) -> float:
        """How clearly the maps decide, in [0, 1]; needs no mask.

        The mean over the cells of the margin between the largest and the second largest of
        (1 - max, scores): 1 where every cell is fully one class or fully background. Without tags
        there is nothing to decide: 1.
        """
        if not self.tags:
            return 1.0
        background = 1.0 - self.scores.max(axis=0, keepdims=True)
        ordered = np.sort(np.concatenate([background, self.scores]), axis=0)
        return float((ordered[-1] - ordered[-2]).mean())


def write_map(path: Path, cam_map: CamMap, dtype: MapDtype = "uint8") -> None:
    """Write the maps of one photo, whole or not at all.

    Args:
        path: the file (``.npz``); missing folders are made.
        cam_map: what to write.
        dtype: of the stored scores; uint8 rounds to steps of 1/255, float16 to about 1/2048.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    stored = _packed(cam_map.scores, dtype)
    # Not durable: waiting for the disk after each of thousands of files would cost more than they.
    with atomic_write(path, durable=False) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            id=np.array(cam_map.id),
            tags=np.array(cam_map.tags, "<i4"),
            scores=stored,
            size=np.array(cam_map.size, "<i4"),
            probabilities=cam_map.probabilities.astype("<f4"),
        )


def read_map(path: Path) -> CamMap:
    """Read the maps of one photo.

    Args:
        path: a file of `write_map`, or a user's own of the same layout.

    Raises:
        DataError: missing, cut off, not such a file, or values that no map can hold.
    """
    fix = "Delete the file and run infer-cam again: it makes only what is missing."
    try:
        content = io.BytesIO(path.read_bytes())
        with _PARSING, np.load(content, allow_pickle=False) as file:
            scores, size = file["scores"], file["size"]
            tags, probabilities = file["tags"], file["probabilities"]
            photo_id = str(file["id"][()])
    except FileNotFoundError:
        raise DataError("map is missing", where=path, fix=fix) from None
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"map can't be read: {reason}", where=path, fix=fix) from None
    if scores.dtype != np.uint8 and scores.dtype.kind != "f":
        raise DataError(
            f"map holds {scores.dtype} scores, not uint8 or floats", where=path, fix=fix
        )
    if size.shape != (2,) or {size.dtype.kind, tags.dtype.kind} - {"i", "u"} or tags.ndim != 1:
        raise DataError("size is no (h, w), or tags are no list of integers", where=path, fix=fix)
    if probabilities.dtype.kind != "f":
        raise DataError(f"probabilities are {probabilities.dtype}, not floats", where=path, fix=fix)
    try:
        return CamMap(
            photo_id,
            tuple(int(t) for t in tags),
            _unpacked(scores),
            (int(size[0]), int(size[1])),
            probabilities.astype(np.float32),
        )
    except DataError as error:
        raise DataError(error.what, where=path, fix=fix) from None


def _packed(scores: NDArray[np.float32], dtype: MapDtype) -> NDArray[Any]:
    """Scores as a file holds them."""
    return np.rint(scores * 255.0).astype(np.uint8) if dtype == "uint8" else scores.astype("<f2")


def _unpacked(stored: NDArray[Any]) -> NDArray[np.float32]:
    floats = stored.astype(np.float32)
    return floats * np.float32(1.0 / 255.0) if stored.dtype == np.uint8 else floats


def map_grid(height: int, width: int, stride: int) -> tuple[int, int]:
    """Cells of a map of a photo at a stride."""
    return -(-height // stride), -(-width // stride)
