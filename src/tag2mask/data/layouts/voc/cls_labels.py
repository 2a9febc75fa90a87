"""Reader of ``cls_labels.npy``, the tag file of psa, SEAM and their descendants.

It is a pickled dictionary inside a ``.npy``: ``{"2007_000032": float32 (20,)}`` (psa, SEAM) or
``{2007000032: ...}`` (IRN). ``numpy.load(allow_pickle=True)`` would run any code in it, so it is
read by `plain_pickle`, which runs nothing.

Format: numpy/lib/_format_impl.py (NEP 1).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tag2mask.data.layouts.voc.plain_pickle import (
    DamagedPickleError,
    PickledArray,
    PickledDict,
    RefusedPickleError,
    read_plain_pickle,
)
from tag2mask.errors import DataError

MAX_BYTES = 1 << 28
"""The largest file that is read; that of VOC has 3 MB, one of all of COCO would have 40."""
_FIX = "Use the cls_labels.npy of psa or SEAM, or write a tags.csv instead."
_DESCR = re.compile(rb"""['"]descr['"]: *(?:['"]([^'"]{0,20})|\[)""")
_ONE_ELEMENT = re.compile(rb"""['"]shape['"]: *\( *(?:1 *, *)?\)""")


def read_cls_labels(path: Path, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Read the classes of each photo.

    Args:
        path: a ``.npy`` with one pickled dictionary.
        num_classes: C, the length that each photo's vector must have.

    Returns:
        Sorted tag ids by photo id.

    Raises:
        DataError: no such file, a very large one, one that has anything but vectors of numbers by
            photo, or vectors of another length.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path, fix=_FIX) from None
    return parse_cls_labels(content, num_classes, path)


def parse_cls_labels(
    content: bytes, num_classes: int, where: str | Path
) -> dict[str, tuple[int, ...]]:
    """Return the classes of each photo from the content of a file (see `read_cls_labels`)."""
    try:
        if len(content) > MAX_BYTES:
            raise RefusedPickleError(f"more than {MAX_BYTES >> 20} MiB")
        labels = _dictionary(content)
        vectors = {_photo_id(key): _positive(value) for key, value in labels.pairs}
    except RefusedPickleError as error:
        raise DataError(f"refused: {error}", where=where, fix=_FIX) from None
    except ValueError as error:
        raise DataError(f"not a readable .npy of labels: {error}", where=where, fix=_FIX) from None
    for id, vector in vectors.items():
        if vector.shape != (num_classes,):
            raise DataError(
                f"labels of {id[:60]!r} have shape {vector.shape}; {num_classes} classes need "
                f"({num_classes},)",
                where=where,
                fix="Check the class list (classes.txt) or the file.",
            )
    return {id: tuple(np.flatnonzero(vector).tolist()) for id, vector in vectors.items()}


def _dictionary(content: bytes) -> PickledDict:
    """Return the only element of the array of objects in a ``.npy``."""
    if content[:6] != b"\x93NUMPY" or content[6:7] not in (b"\1", b"\2", b"\3"):
        raise DamagedPickleError("it doesn't begin as a .npy does")
    start = 10 if content[6] == 1 else 12
    end = start + int.from_bytes(content[8:start], "little")
    header = content[start:end]
    descr = _DESCR.search(header)
    if len(header) > 10_000 or not descr:
        raise DamagedPickleError("its header is damaged")
    if descr[1] not in (b"O", b"|O", b"|O4", b"|O8"):
        raise DamagedPickleError("an array of numbers or text, not a dictionary")
    array = read_plain_pickle(content[end:])
    if not isinstance(array, PickledArray) or not isinstance(array.data, list):
        raise DamagedPickleError("contains no dictionary of photos")
    if not _ONE_ELEMENT.search(header) or len(array.data) != 1:
        raise DamagedPickleError("an array of several objects, not one dictionary")
    [labels] = array.data
    if not isinstance(labels, PickledDict):
        raise DamagedPickleError("contains no dictionary of photos")
    return labels


def _positive(value: object) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which elements of a vector are above 0."""
    if not isinstance(value, PickledArray):
        raise RefusedPickleError("labels that are not an array of numbers")
    return np.asarray(value.numbers() > 0)


def _photo_id(key: object) -> str:
    """Return the id as text: IRN's integer ``2007000032`` is ``2007_000032``."""
    if isinstance(key, str):
        return key
    if type(key) is not int or not -(2**63) <= key < 2**63:
        raise RefusedPickleError("a photo whose name is neither text nor a whole number")
    return f"{key // 10**6:04d}_{key % 10**6:06d}" if key >= 10**9 else str(key)
