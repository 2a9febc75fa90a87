"""Reader of ``cls_labels.npy``, the tag file of psa, SEAM and their descendants.

It is a pickled dictionary inside a ``.npy``: ``{"2007_000032": float32 (20,)}`` (psa, SEAM) or
``{2007000032: ...}`` (IRN). Unpickling can run arbitrary code, so ``numpy.load(allow_pickle=True)``
is unsafe for a file from the internet. The unpickler here builds arrays and plain values only;
any other name in the pickle is refused before it is imported.

Format: numpy/lib/_format_impl.py (NEP 1).
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from tag2mask.data.images import one_line
from tag2mask.errors import DataError

_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
_FIX = "Use the cls_labels.npy of psa or SEAM, or write a tags.csv instead."


def read_cls_labels(path: Path, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Read the classes of each photo.

    Args:
        path: a ``.npy`` with one pickled dictionary.
        num_classes: C, the length that each photo's vector must have.

    Returns:
        Sorted tag ids by photo id.

    Raises:
        DataError: no such file, one that refers to anything but arrays, or vectors of another
            length.
    """
    try:
        values = _load(path.read_bytes())
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path, fix=_FIX) from None
    except _RefusedError as error:
        raise DataError(f"refused: {error}", where=path, fix=_FIX) from None
    except Exception as error:  # a damaged pickle may raise any exception
        raise DataError(
            f"not a readable .npy of labels: {one_line(error)}", where=path, fix=_FIX
        ) from None
    if not isinstance(values, dict):
        raise DataError("contains no dictionary of photos", where=path, fix=_FIX)
    tags: dict[str, tuple[int, ...]] = {}
    for key, value in values.items():
        vector = np.asarray(value)
        if vector.shape != (num_classes,) or vector.dtype.kind not in "biuf":
            raise DataError(
                f"labels of {key!r} have shape {vector.shape}; {num_classes} classes need "
                f"({num_classes},)",
                where=path,
                fix="Check the class list (classes.txt) or the file.",
            )
        tags[_photo_id(key)] = tuple(int(i) for i in np.flatnonzero(vector > 0))
    return tags


def _photo_id(key: Any) -> str:
    """Return the id as text: IRN's integer ``2007000032`` is ``2007_000032``."""
    if isinstance(key, int | np.integer) and key >= 10**9:
        return f"{int(key) // 10**6:04d}_{int(key) % 10**6:06d}"
    return str(key)


def _load(content: bytes) -> Any:
    stream = io.BytesIO(content)
    version = npy_format.read_magic(stream)
    read_header = (
        npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    )
    shape, _, dtype = read_header(stream)
    if not dtype.hasobject:
        raise ValueError(f"an array of {dtype}, not a dictionary")
    array = _ArraysOnly(stream, encoding="latin1").load()
    if isinstance(array, np.ndarray) and array.shape == shape and array.size == 1:
        return array.reshape(-1)[0]
    raise ValueError("an array of several objects, not one dictionary")


class _RefusedError(Exception):
    """The pickle refers to something other than arrays."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that resolves five names, none of which runs foreign code."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name == "_reconstruct":
            return _empty_array
        if module in _MODULES and name == "scalar":
            return _scalar
        if module == "numpy" and name == "ndarray":
            return "ndarray"  # only passed to _empty_array, which ignores it
        if module == "numpy" and name == "dtype":
            return _dtype
        if module == "_codecs" and name == "encode":
            return _latin1  # how protocol 2 writes bytes
        raise _RefusedError(f"the file asks for {module}.{name}, which labels don't need")


def _empty_array(*_: Any) -> np.ndarray[Any, Any]:
    """Return an array whose state the pickle sets next."""
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _latin1(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError(f"the file asks for an encoding, {encoding!r}")
    return text.encode("latin1")


def _dtype(text: Any, *_: Any) -> np.dtype[Any]:
    if not isinstance(text, str):
        raise _RefusedError("the file asks for a composed data type")
    return np.dtype(text)


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _RefusedError("the file asks for an object scalar")
    content = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(content, dtype=dtype)[0]
