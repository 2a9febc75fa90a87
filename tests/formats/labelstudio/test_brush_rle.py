"""The run-length code of Label Studio's brush, against a decoder written after theirs."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import masks

from tag2mask.formats.labelstudio.brush_rle import decode_brush, encode_brush


def _label_studio_decode(rle: list[int]) -> list[int]:
    """Decode as ``label_studio_converter.brush.decode_rle`` does."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    position = 0

    def read(size: int) -> int:
        nonlocal position
        position += size
        return int(bits[position - size : position], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    out = [0] * count
    i = 0
    while i < count:
        equal = read(1)
        j = i + 1 + read(sizes[read(2)])
        if equal:
            out[i:j] = [read(word)] * (j - i)
        else:
            out[i:j] = [read(word) for _ in range(i, j)]
        i = j
    return out


@settings(deadline=None)
@given(mask=masks())
def test_what_is_encoded_is_decoded(mask):
    pixels = mask == 1
    code = encode_brush(pixels)
    np.testing.assert_array_equal(decode_brush(code, *pixels.shape[::-1]), pixels)
    assert _label_studio_decode(code) == np.repeat(pixels.ravel() * 255, 4).tolist()


@pytest.mark.parametrize("shape", [(1, 1), (2, 16384), (129, 257)])
def test_long_runs(shape):
    pixels = np.ones(shape, bool)
    np.testing.assert_array_equal(decode_brush(encode_brush(pixels), *shape[::-1]), pixels)


def test_single_values_as_their_brush_writes_soft_edges():
    # 2 pixels: alpha 0, then 7, all channels written one by one in a run of unequal values.
    values = [1, 2, 3, 0, 0, 0, 0, 7]
    bits = f"{8:032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += "0" + "00" + f"{7:03b}" + "".join(f"{value:08b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_brush(code, 2, 1).tolist() == [[False, True]]


@given(code=st.lists(st.integers(0, 255), max_size=40))
def test_damaged_codes_are_errors(code):
    with pytest.raises(ValueError):
        decode_brush([*code, 1, 2], 3, 0)
    with suppress(ValueError):
        assert decode_brush(code, 2, 2).shape == (2, 2)
    whole = encode_brush(np.ones((2, 2), bool))
    for bad in (whole[:-2], "text", [300], None, [0.5], 10**15, [True]):
        with pytest.raises(ValueError):
            decode_brush(bad, 2, 2)
    with pytest.raises(ValueError, match="a code of 16 values"):
        decode_brush(whole, 2, 3)
