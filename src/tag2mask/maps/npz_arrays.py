"""Arrays of numbers and texts in ``.npz`` files, whose claims are checked before memory is used.

``numpy.load`` allocates what a header claims, and parses headers with Python's own parser, which
raises many kinds of errors. Here a header must have the form that NumPy writes, and agree with the
size of its member of the archive.

Format: numpy/lib/_format_impl.py (NEP 1); a ``.npz`` is a zip archive of ``.npy`` files.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\x01\x00": "<H", b"\x02\x00": "<I", b"\x03\x00": "<I"}
"""Type of the header's length by the version of the format."""
_LONGEST_HEADER = 10_000
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[biufU]\d{1,5})', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, ]{0,100})\),? ?\}\s*"
)


class NpzArrays:
    """The arrays of a ``.npz`` file, read one by one.

    Args:
        content: the file.

    Raises:
        ValueError: no zip archive.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, NotImplementedError, OSError, struct.error) as error:
            raise ValueError(f"no .npz file: {error}") from None

    def read(self, name: str, most_bytes: int) -> NDArray[Any]:
        """Return an array of booleans, integers, floats or texts.

        Args:
            name: its name, without ``.npy``.
            most_bytes: the most bytes that its values may take.

        Raises:
            ValueError: missing, damaged, of another type, larger than allowed, or of another size
                than it claims.
        """
        try:
            with self._archive.open(f"{name}.npy") as file:
                return _read_array(file, name, self._archive.getinfo(f"{name}.npy"), most_bytes)
        except KeyError:
            raise ValueError(f"it has no {name}") from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
            RuntimeError,
            EOFError,
            OSError,
        ) as error:
            raise ValueError(f"{name} can't be unpacked: {error}") from None


def _read_array(file: Any, name: str, member: zipfile.ZipInfo, most_bytes: int) -> NDArray[Any]:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in an unknown way")
    start = file.read(8)
    length_type = _LENGTHS.get(start[6:])
    if start[:6] != _MAGIC or length_type is None:
        raise ValueError(f"{name} is not an array")
    size = struct.calcsize(length_type)
    length = int.from_bytes(file.read(size), "little")
    header = _HEADER.fullmatch(file.read(min(length, _LONGEST_HEADER)))
    if header is None:
        raise ValueError(f"{name} is not an array of numbers or text")
    try:
        dtype = np.dtype(header[1].decode())
    except TypeError:
        raise ValueError(f"{name} has the unknown type {header[1].decode()}") from None
    shape = tuple(int(side) for side in re.findall(rb"\d+", header[3]))
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > most_bytes:
        raise ValueError(f"{name} of shape {shape} is larger than it can be")
    if member.file_size != 8 + size + length + claimed:
        raise ValueError(f"{name} has a different size than its header says")
    values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape, order="F" if header[2] == b"True" else "C")
