"""`CamMap`, the class activation maps of one photo, and its file.

Maps are smooth and are only compared with thresholds, so files are small: scores at a stride, as
uint8 (steps of 1/255) or float16, compressed; docs/reference/steps/infer-cam.md has the sizes.
Reading takes less than a millisecond.

A file is a NumPy ``.npz`` without pickles, which ``numpy.load`` reads: ``id``, ``tags``,
``scores``, ``size``, ``probabilities``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.items import item_path
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.files.regular_file import read_regular
from tag2mask.formats.pixels.opening import MAX_PIXELS
from tag2mask.maps.npz_arrays import NpzArrays

MAP_SUFFIX = ".npz"
MapDtype = Literal["uint8", "float16"]
_SMALL_BYTES = 1 << 16
"""The most bytes of the arrays other than the scores."""


def map_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's maps in the folder of ``infer-cam`` or ``walk``.

    Raises:
        RunFolderError: the id leads out of the folder.
    """
    return item_path(folder / "maps", photo_id, MAP_SUFFIX)


@dataclass(frozen=True, eq=False)
class CamMap:
    """Activation maps of one photo, foreground only.

    Args:
        id: the sample's id.
        tags: k tag ids in ascending order; the classes that have a map.
        scores: float32 (k, h, w) in [0, 1], at the stored stride.
        size: the upright photo's (h, w), px.
        probabilities: float32 (C,) in [0, 1], the classifier's tag probabilities.

    Raises:
        DataError: shapes that don't agree, tags outside the classes, NaN or values outside [0, 1].

    Example:
        >>> import numpy as np
        >>> from tag2mask.maps.cam_map import CamMap
        >>> scores = np.array([[[0.0, 1.0]]], np.float32)
        >>> cam_map = CamMap("a", (0,), scores, (1, 8), np.ones(1, np.float32))
        >>> cam_map.full_scores().shape
        (1, 1, 8)
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
            return f"tags {self.tags} are not increasing"
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
        """Return the scores at the photo's size, float32 (k, H, W), resized bilinearly."""
        if not self.tags:
            return np.zeros((0, *self.size), np.float32)
        if self.scores.shape[1:] == self.size:
            return self.scores
        import torch  # here: a report, which reads maps, needs none
        from torch.nn import functional

        resized = functional.interpolate(
            torch.from_numpy(self.scores)[None],
            size=self.size,
            mode="bilinear",
            align_corners=False,
        )
        full: NDArray[np.float32] = resized[0].numpy()
        return full

    def as_stored(self, dtype: MapDtype = "uint8") -> CamMap:
        """Return the map that `read_map` returns after `write_map` has stored this one."""
        return replace(self, scores=_unpacked(_packed(self.scores, dtype)))


def write_map(path: Path, cam_map: CamMap, dtype: MapDtype = "uint8") -> None:
    """Write the maps of one photo, atomically.

    Args:
        path: the file (``.npz``); missing folders are created.
        cam_map: the maps.
        dtype: type of the stored scores; uint8 rounds to steps of 1/255, float16 to about 1/2048.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    stored = _packed(cam_map.scores, dtype)
    # Not durable: to wait for the disk after each of thousands of files would take longer than to
    # compute them.
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
        path: a file written by `write_map`, or another file with the same arrays.

    Raises:
        DataError: the file is missing, truncated or of another kind, or its values are invalid.
    """
    fix = "Delete the file and run infer-cam again: it computes only what is missing."
    try:
        return _parsed_map(NpzArrays(read_regular(path)))
    except FileNotFoundError:
        raise DataError("map is missing", where=path, fix=fix) from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"map can't be read: {reason}", where=path, fix=fix) from None
    except DataError as error:
        raise DataError(error.what, where=path, fix=fix) from None


def _parsed_map(file: NpzArrays) -> CamMap:
    """Return the map in a file.

    Raises:
        ValueError: an array is missing or can't be read.
        DataError: an array has values of the wrong type, or invalid ones.
    """
    photo_id, tags, size, probabilities = (
        file.read(name, _SMALL_BYTES) for name in ("id", "tags", "size", "probabilities")
    )
    if size.shape != (2,) or {size.dtype.kind, tags.dtype.kind} - {"i", "u"} or tags.ndim != 1:
        raise DataError("size isn't (h, w), or tags aren't a list of integers")
    if probabilities.dtype.kind != "f":
        raise DataError(f"probabilities are {probabilities.dtype}, not floats")
    height, width = int(size[0]), int(size[1])
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise DataError(f"map is of an empty or huge photo of {width} x {height} px")
    # No map has more cells than the photo has pixels.
    scores = file.read("scores", height * width * len(tags) * np.dtype(np.float64).itemsize)
    if scores.dtype != np.uint8 and scores.dtype.kind != "f":
        raise DataError(f"map holds {scores.dtype} scores, not uint8 or floats")
    return CamMap(
        str(photo_id[()]),
        tuple(int(t) for t in tags),
        _unpacked(scores),
        (height, width),
        probabilities.astype(np.float32),
    )


def _packed(scores: NDArray[np.float32], dtype: MapDtype) -> NDArray[Any]:
    """Convert scores to the type in which a file stores them."""
    return np.rint(scores * 255.0).astype(np.uint8) if dtype == "uint8" else scores.astype("<f2")


def _unpacked(stored: NDArray[Any]) -> NDArray[np.float32]:
    floats = stored.astype(np.float32)
    return floats * np.float32(1.0 / 255.0) if stored.dtype == np.uint8 else floats


def map_grid(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return the height and width of a photo's map at a stride, rounded up."""
    return -(-height // stride), -(-width // stride)
