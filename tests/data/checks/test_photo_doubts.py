"""Photos that are not read as they look elsewhere: dark, transparent, or several in one file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_folders import write_array, write_data, write_photo
from PIL import Image

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.images import unread_parts, used_bits
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.prepare.measure import measure_photos


def deep(highest: int) -> np.ndarray:
    return np.linspace(0, highest, 48).reshape(6, 8).astype(np.uint16)


def write_png_of_16_bit_colors(path: Path, values: np.ndarray) -> None:
    """Write uint16 (h, w, 3), which Pillow can't."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_used_bits(tmp_path: Path, bits: int) -> None:
    gray = deep(2**bits - 1)
    colors = np.dstack([gray, gray // 2, gray // 4])
    Image.fromarray(gray).save(tmp_path / "gray.png")
    tifffile.imwrite(tmp_path / "big.tif", gray, byteorder=">")
    tifffile.imwrite(tmp_path / "colors.tif", colors, photometric="rgb", compression="deflate")
    write_png_of_16_bit_colors(tmp_path / "colors.png", colors)
    for name in ("gray.png", "big.tif", "colors.tif", "colors.png"):
        assert used_bits(tmp_path / name) == bits, name


def test_photos_of_8_bits_have_none(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.png", "x.tif"):
        assert used_bits(write_photo(tmp_path / name)) is None


def test_photos_of_12_bits_are_reported(tmp_path: Path) -> None:
    root = write_data(tmp_path, "a,dog,train\nb,,train\nc,,train\n", photos="c")
    write_array(root / "a.png", deep(4000))
    write_array(root / "b.png", deep(300))
    (warning,) = check_data(root).warnings
    assert "16-bit photos use at most 12 bits (2 photos: 'a'" in warning
    assert "multiply their values by 16" in warning
    assert [p.message for p in measure_photos(read_inventory(root), None)[2]] == [warning]
    write_array(root / "b.png", deep(60000))  # the others are dark indeed
    assert check_data(root).problems == ()
    (root / "b.png").write_bytes(b"no photo")
    assert [p.warning for p in check_data(root).problems] == [False, True]


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_files_with_several_images_are_a_warning(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 6, 8, 3), np.uint8)
    first, *rest = map(Image.fromarray, noise)
    folder = write_data(tmp_path, "a,cat,train\nb,dog,train\nc,,train\n", photos="b c")
    first.save(folder / f"a.{suffix}", save_all=True, append_images=rest)
    [warning] = [w for w in check_data(folder).warnings if "several images" in w]
    assert "photo 'a'" in warning and "only the first is read" in warning
    first.save(folder / f"a.{suffix}")
    assert not [w for w in check_data(folder).warnings if "several images" in w]


def test_a_thumbnail_is_no_second_photo(tmp_path: Path) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    photo.save(tmp_path / "a.tif", save_all=True, append_images=[photo.resize((8, 6))])
    assert unread_parts(tmp_path / "a.tif") == ""


@pytest.mark.parametrize(("opacity", "warned"), [(0, True), (255, False)])
def test_transparent_photos_are_a_warning(tmp_path: Path, opacity: int, warned: bool) -> None:
    folder = write_data(tmp_path, "a,cat,train\nb,dog,train\nc,,train\n", photos="b c")
    Image.new("RGBA", (8, 6), (200, 30, 60, opacity)).save(folder / "a.png")
    found = [w for w in check_data(folder).warnings if "transparent everywhere" in w]
    assert len(found) == warned and all("photo 'a'" in warning for warning in found)
