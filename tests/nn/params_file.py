"""MXNet list files, written as MXNet does."""

from __future__ import annotations

import struct

import numpy as np

MAGIC = {"v1": 0xF993FAC8, "v2": 0xF993FAC9, "v3": 0xF993FACA}
TYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


def array_bytes(array: np.ndarray, layout: str = "v2", storage: int = 0) -> bytes:
    """Return an array as MXNet stores it."""
    if layout == "legacy":
        head = struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
    else:
        head = struct.pack("<I", MAGIC[layout])
        if layout != "v1":
            head += struct.pack("<i", storage)
        head += struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
    head += struct.pack("<3i", 1, 0, TYPES.index(array.dtype.name))
    return head + array.tobytes()


def list_bytes(arrays: dict[str, bytes]) -> bytes:
    """Return a list of named arrays as MXNet stores it."""
    parts = [struct.pack("<3Q", 0x112, 0, len(arrays)), *arrays.values()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts += [struct.pack("<Q", len(name.encode())), name.encode()]
    return b"".join(parts)
