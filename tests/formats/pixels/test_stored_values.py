"""Values of few bits: class numbers are read as they are stored, by all that read masks."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tag2mask.data.masks import read_mask, read_mask_content
from tag2mask.errors import DataError
from tag2mask.formats.pixels.gray_masks import read_values
from tag2mask.formats.voc.label_map import LabelMap
from tag2mask.formats.voc.mask_images import label_values

GRAY, PALETTE = 0, 3


def write_png(path: Path, values: np.ndarray, bits: int, kind: int) -> None:
    """Write values (h, w) as a PNG of few bits; Pillow itself writes no such gray ones."""
    shifts = np.arange(bits - 1, -1, -1)
    rows = np.packbits((values[..., None] >> shifts & 1).reshape(len(values), -1), axis=1)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    height, width = values.shape
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)),
        *([(b"PLTE", bytes(index % 256 for index in range(3 << bits)))] if kind == PALETTE else []),
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


@pytest.mark.parametrize("kind", [GRAY, PALETTE])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_pngs_of_few_bits(tmp_path: Path, bits: int, kind: int) -> None:
    path = tmp_path / "mask.png"
    values = np.arange(min(1 << bits, 21)).reshape(1, -1)
    values = np.concatenate([values, values[:, ::-1]])
    write_png(path, values, bits, kind)
    with Image.open(path) as image:
        assert image.mode == {1: "1", 2: "L", 4: "L", 8: "L"}[bits] or kind == PALETTE
    labels = LabelMap(("background", *(f"c{index}" for index in range(20))))
    for found in (read_mask(path, 20), read_values(path), label_values(path, labels)):
        assert found.dtype == np.uint8 and found.tolist() == values.tolist()
    assert read_mask_content(path, 20).values == set(values.ravel().tolist())


def test_a_value_of_no_class_is_not_ignored(tmp_path: Path) -> None:
    write_png(tmp_path / "mask.png", np.array([[0, 15]]), 4, GRAY)
    with pytest.raises(DataError, match="mask has the values 15"):
        read_mask(tmp_path / "mask.png", 3)


@pytest.mark.parametrize("most", [1, 3, 20, 200, 255, 300, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P5"])
def test_pgms_with_any_maximum(tmp_path: Path, most: int, kind: bytes) -> None:
    values = np.arange(min(most, 20) + 1)
    numbers = values.astype(np.uint8 if most < 256 else ">u2").tobytes()
    text = " ".join(map(str, values)).encode()
    content = numbers if kind == b"P5" else text
    path = tmp_path / "mask.pgm"
    path.write_bytes(kind + b"\n%d 1\n%d\n" % (len(values), most) + content)
    assert read_mask(path, 20).tolist() == [values.tolist()]


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_masks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(values).save(tmp_path / name)
    Image.fromarray(values).convert("RGB").save(tmp_path / f"rgb-{name}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    gray = tuple((value,) * 3 for value in range(6))
    labels = LabelMap(("background", *"abcde"), gray)
    assert read_values(tmp_path / name).tolist() == values.tolist()
    for path in (tmp_path / name, tmp_path / f"rgb-{name}"):
        assert label_values(path, labels).tolist() == values.tolist()
