"""Run-length code of Label Studio's brush: "rle-pack" of the RGBA bytes of a photo's pixels.

The bits are: 32 for the number of bytes, 5 for the bits of a value less one, 4 x 4 for the bits of
four kinds of length less one; then runs. A run has a bit that says whether its values are equal, 2
bits for the kind of its length, the length less one, and one value, or one per byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tag2mask.formats.pixels.run_lengths import MOST_PIXELS, run_lengths

_CHANNELS = 4
_ALPHA = 3
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)


def encode_brush(pixels: NDArray[np.bool_]) -> list[int]:
    """Return the code of a mask, as bytes.

    Args:
        pixels: bool (h, w); inside, all four channels are 255, outside 0.
    """
    head = f"{pixels.size * _CHANNELS:032b}{_VALUE_BITS - 1:05b}"
    head += "".join(f"{bits - 1:04b}" for bits in _LENGTH_BITS)
    bits = head + "".join(_coded_runs(run_lengths(pixels.ravel())))
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _coded_runs(lengths: Sequence[int]) -> Iterator[str]:
    """Yield the bits of runs that are outside and inside in turn."""
    for index, pixels in enumerate(lengths):
        value = "1" * _VALUE_BITS if index % 2 else "0" * _VALUE_BITS
        rest = pixels * _CHANNELS
        while rest:
            length = min(rest, 2 ** _LENGTH_BITS[-1])
            kind = next(k for k, bits in enumerate(_LENGTH_BITS) if length <= 2**bits)
            yield f"1{kind:02b}{length - 1:0{_LENGTH_BITS[kind]}b}{value}"
            rest -= length


def decode_brush(code: Any, width: int, height: int) -> NDArray[np.bool_]:
    """Return the mask of a code: the pixels whose alpha is above 0.

    Args:
        code: the bytes, as a list of numbers.
        width: of the photo, px.
        height: of the photo, px.

    Returns:
        bool (h, w).

    Raises:
        ValueError: damaged, or of another size.
    """
    count = width * height * _CHANNELS
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"a photo of {width}x{height} px")
    if not isinstance(code, list) or any(type(byte) is not int for byte in code):
        raise ValueError("the code is not a list of bytes")  # of a number, bytes() makes zeros
    bits = _Bits(bytes(code))
    written = bits.number(32)
    if written != count:
        raise ValueError(f"a code of {written} values for {width}x{height} px")
    value_bits = bits.number(5) + 1
    length_bits = [bits.number(4) + 1 for _ in range(4)]
    if value_bits != _VALUE_BITS:
        raise ValueError(f"values of {value_bits} bits instead of {_VALUE_BITS}")
    pixels = np.zeros(width * height, np.bool_)
    at = 0
    while at < count:
        equal = bits.number(1)
        length = bits.number(length_bits[bits.number(2)]) + 1
        if at + length > count:
            raise ValueError("a run that is longer than the photo")
        # Of the bytes from at on, those whose place is 3, 7, ... are the alpha of a pixel.
        inside = slice(at // _CHANNELS, (at + length) // _CHANNELS)
        if not equal:
            pixels[inside] = bits.octets(length)[(_ALPHA - at) % _CHANNELS :: _CHANNELS] > 0
        elif bits.number(value_bits):
            pixels[inside] = True
        at += length
    return pixels.reshape(height, width)


class _Bits:
    """Reads numbers of any number of bits."""

    def __init__(self, code: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(code, np.uint8))
        self._text = (self._bits + ord("0")).tobytes()
        self._at = 0

    def number(self, bits: int) -> int:
        """Consume a number; ValueError where the code is cut off."""
        start = self._consume(bits)
        return int(self._text[start : self._at], 2)

    def octets(self, count: int) -> NDArray[np.uint8]:
        """Consume some numbers of 8 bits."""
        start = self._consume(8 * count)
        return np.packbits(self._bits[start : self._at])

    def _consume(self, bits: int) -> int:
        start = self._at
        self._at += bits
        if self._at > len(self._text):
            raise ValueError("the code is cut off")
        return start
