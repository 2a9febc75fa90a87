"""Reader of MXNet ``.params`` files, for the ImageNet weights of ResNet-38.

MXNet is retired and hard to install, and its list files are simple: a magic number, arrays, names.
All dense formats are read: the original one (psa's release, 2016), V1 (64-bit shapes), V2 (storage
type) and V3 (numpy shapes). Nothing in a file is executed. Sizes in a header are compared with the
rest of the file before memory is allocated.

Not supported: sparse arrays, and writing.

Format (little endian): u64 magic 0x112, u64 reserved, u64 count, arrays, u64 count, names (u64
length, bytes). Array: u32 version; V2 and V3: i32 storage type; shape (u32 number of dimensions,
then i64 each; in the original format the version field is the number of dimensions, and they are
u32); i32 device type, i32 device number, i32 element type; values. An array without a shape ends
after the shape.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tag2mask.errors import WeightsError

LIST_MAGIC = 0x112
V1_MAGIC, V2_MAGIC, V3_MAGIC = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MAX_DIMENSIONS = 32
ELEMENT_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}

_BATCH_NORM_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
_STATISTIC = "gamma|beta|moving_mean|moving_var"
_UNIT = r"(?P<stage>\d)(?:a|b(?P<unit>\d+))_(?P<branch>branch\w+?)"
_CONVOLUTION = re.compile(rf"res{_UNIT}_weight")
_BATCH_NORM = re.compile(rf"bn{_UNIT}_(?P<leaf>{_STATISTIC})")
_LAST_BATCH_NORM = re.compile(rf"bn7_(?P<leaf>{_STATISTIC})")


def read_params(path: Path) -> dict[str, Tensor]:
    """Read an MXNet list file of named dense arrays.

    Args:
        path: a ``.params`` file.

    Returns:
        Tensors by name, without the ``arg:`` and ``aux:`` prefixes, in the stored data types.

    Raises:
        WeightsError: the file can't be opened, isn't an MXNet list file, is truncated, has extra
            bytes at its end, or holds sparse arrays, unknown element types or unnamed arrays.
    """
    try:
        with path.open("rb") as file:
            return _ParamsReader(file, path).read()
    except OSError as error:
        raise WeightsError(
            f"weights can't be read: {error.strerror}", where=path, fix="Check the path."
        ) from None


def resnet38_names(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename psa's ImageNet ResNet-38 arrays to the authors' names in torch.

    ``res2b1_branch2a_weight`` becomes ``b2_1.conv_branch2a.weight``, ``bn7_gamma`` becomes
    ``bn7.weight``; ImageNet's classifier ``linear1000`` is dropped. Unknown names stay, so that
    loading the result reports them.

    Args:
        arrays: the result of :func:`read_params`.
    """
    renamed: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if name.startswith("linear1000"):
            continue
        renamed[_resnet38_name(name)] = array
    return renamed


def _resnet38_name(name: str) -> str:
    if name == "conv1a_weight":
        return "conv1a.weight"
    if last := _LAST_BATCH_NORM.fullmatch(name):
        return f"bn7.{_BATCH_NORM_NAMES[last['leaf']]}"
    if match := _CONVOLUTION.fullmatch(name):
        return f"{_block(match)}.conv_{match['branch']}.weight"
    if match := _BATCH_NORM.fullmatch(name):
        return f"{_block(match)}.bn_{match['branch']}.{_BATCH_NORM_NAMES[match['leaf']]}"
    return name


def _block(match: re.Match[str]) -> str:
    """Return a block's name: ``2a`` -> ``b2``, ``2b1`` -> ``b2_1``."""
    return f"b{match['stage']}" + (f"_{match['unit']}" if match["unit"] else "")


class _ParamsReader:
    """Sequential reader that never allocates more memory than the file has bytes left."""

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        self.file = file
        self.path = path
        self.left = path.stat().st_size

    def read(self) -> dict[str, Tensor]:
        if self.left < 8 or self.number("<Q") != LIST_MAGIC:
            raise WeightsError(
                "not an MXNet .params file",
                where=self.path,
                fix="Give the released file unchanged, or a .pth or .safetensors file.",
            )
        self.number("<Q")
        arrays = [self.array() for _ in range(self.count())]
        names = [self.name() for _ in range(self.count())]
        if len(names) != len(arrays) or len(set(names)) != len(names):
            raise self.broken(f"{len(arrays)} arrays but {len(set(names))} distinct names")
        if self.left:
            raise self.broken(f"{self.left} bytes follow the last name")
        return {name: array for name, array in zip(names, arrays, strict=True) if array is not None}

    def array(self) -> Tensor | None:
        version = self.number("<I")
        if version in (V2_MAGIC, V3_MAGIC) and self.number("<i") != 0:
            raise self.broken("sparse arrays are not supported")
        if version in (V1_MAGIC, V2_MAGIC, V3_MAGIC):
            shape = self.shape(self.number("<i"), "q")
        else:
            shape = self.shape(version, "I")
        # Only V3 has scalars; in the other formats zero dimensions mean that there is no array.
        if shape is None or (not shape and version != V3_MAGIC):
            return None
        self.numbers("<2i")  # the device it was saved from
        kind = self.number("<i")
        if kind not in ELEMENT_TYPES:
            raise self.broken(f"unknown element type {kind}")
        dtype = np.dtype(ELEMENT_TYPES[kind])
        values = np.frombuffer(self.take(math.prod(shape) * dtype.itemsize), dtype=dtype)
        return torch.from_numpy(values.reshape(shape))

    def shape(self, dimensions: int, code: str) -> tuple[int, ...] | None:
        if dimensions == -1:
            return None
        if not 0 <= dimensions <= MAX_DIMENSIONS:
            raise self.broken(f"an array of {dimensions} dimensions")
        sides = self.numbers(f"<{dimensions}{code}")
        if any(side < 0 for side in sides):
            raise self.broken(f"an array of shape {sides}")
        return sides

    def name(self) -> str:
        text = bytes(self.take(self.count())).decode("utf-8", errors="replace")
        return text.removeprefix("arg:").removeprefix("aux:")

    def count(self) -> int:
        """Read a 64-bit number of items, each of at least one byte."""
        count = self.number("<Q")
        if count > self.left:
            raise self.broken(f"{count} items announced, {self.left} bytes left")
        return count

    def number(self, layout: str) -> int:
        return self.numbers(layout)[0]

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def take(self, count: int) -> bytearray:
        if count > self.left:
            raise self.broken(f"{count} bytes announced, {self.left} left")
        data = bytearray(count)
        if self.file.readinto(data) != count:
            raise self.broken("it ends early")
        self.left -= count
        return data

    def broken(self, problem: str) -> WeightsError:
        return WeightsError(
            f"damaged or truncated MXNet .params file: {problem}",
            where=self.path,
            fix="Download it again and compare its size.",
        )
