"""Descriptions of the kinds of TIFF that Pillow can't read or misreads."""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL import TiffImagePlugin

_NUMBERS = {2: " (signed)", 3: " (floating point)", 5: " (complex)", 6: " (complex)"}
"""Kind of numbers by the tag SampleFormat; none: unsigned."""
_REAL_BITS = frozenset(range(1, 33)) | {64, 128}
"""Bits of a number; others are those of a damaged header."""
_COMPRESSED = 2
"""The least value of the tag Compression that isn't uncompressed."""
_SEPARATE_PLANES = 2
_GRAY = (0, 1)
"""Values of the tag PhotometricInterpretation for gray."""


def describe_tiff(file: BinaryIO) -> str | None:
    """Return what the pixels of a TIFF are, such as ``5 bands of 8 bits``.

    Returns:
        None for a file whose header can't be read.
    """
    try:
        file.seek(0)
        header = file.read(8)
        if header[2:3] == b"+" or header[3:4] == b"+":  # BigTIFF
            header += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        has_pixels = TiffImagePlugin.STRIPOFFSETS in tags or TiffImagePlugin.TILEOFFSETS in tags
        return _pixels(tags) if has_pixels and set(_bits(tags)) <= _REAL_BITS else None
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error):
        return None


def misread_planes(image: TiffImagePlugin.TiffImageFile) -> str | None:
    """Return what the pixels are if Pillow would read them wrong: 16-bit planes as 8-bit ones."""
    tags = image.tag_v2
    if (
        tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == _SEPARATE_PLANES
        and tags.get(TiffImagePlugin.COMPRESSION, 1) < _COMPRESSED
        and max(_bits(tags)) > 8
    ):
        return f"{_pixels(tags)} in separate planes"
    return None


def _bits(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[int, ...]:
    return tuple(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))


def _pixels(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str:
    bands = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    bits = "/".join(str(int(number)) for number in sorted(set(_bits(tags))))
    kind = max(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)), default=1)
    unmarked = bands in (3, 4) and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in _GRAY
    return (
        f"{bands} band{'s' if bands > 1 else ''} of {bits} bits{_NUMBERS.get(kind, '')}"
        f"{', marked as gray' if unmarked else ''}"
    )
