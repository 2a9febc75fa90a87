"""TIFFs that can't be read are named as what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tag2mask.data.images import image_size, read_image
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("values", "options", "kind"),
    [
        (np.ones((6, 8, 5), np.uint8), {"photometric": "minisblack"}, "5 bands of 8 bits"),
        (
            np.ones((5, 6, 8), np.uint8),
            {"photometric": "minisblack", "planarconfig": "separate"},
            "5 bands of 8 bits",
        ),
        (
            np.ones((6, 8, 4), np.uint16),
            {"photometric": "minisblack"},
            "4 bands of 16 bits, marked as gray",
        ),
        (
            np.ones((6, 8, 3), np.float32),
            {"photometric": "rgb"},
            r"3 bands of 32 bits \(floating point\)",
        ),
        (np.ones((6, 8), np.float64), {}, r"1 band of 64 bits \(floating point\)"),
        (np.ones((6, 8), np.int64), {}, r"1 band of 64 bits \(signed\)"),
        (np.ones((6, 8), np.uint64), {"byteorder": ">"}, "1 band of 64 bits"),
        (np.ones((6, 8), np.uint64), {"bigtiff": True}, "1 band of 64 bits"),
        (
            np.ones((3, 6, 8), np.uint16),
            {"photometric": "rgb", "planarconfig": "separate"},
            "3 bands of 16 bits in separate planes",
        ),
    ],
)
def test_kinds_that_cannot_be_read(
    tmp_path: Path, values: np.ndarray, options: dict[str, object], kind: str
) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values, **({"planarconfig": "contig"} | options))
    for reader in (read_image, image_size):
        with pytest.raises(DataError, match=rf"read here: {kind} \[.*x\.tif\]\. Save it as 8-bit"):
            reader(path)
    with pytest.raises(DataError, match=rf"mask is a TIFF.*: {kind} \[.*PNG of one band of 8"):
        read_mask(path, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"planarconfig": "separate", "compression": "deflate"},
        {"bigtiff": True},
        {"byteorder": ">"},
    ],
)
def test_sixteen_bit_rgb_is_read(tmp_path: Path, options: dict[str, object]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint16) * 257
    stored = rgb.transpose(2, 0, 1) if "planarconfig" in options else rgb
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", **options)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "x.tif")), rgb // 257)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("length", [4, 8, 12, 60])
def test_a_tiff_cut_off_in_its_header_is_damaged(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.ones((6, 8, 5), np.uint8), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"can't be read: damaged TIFF header.*x\.tif.*cut off"):
        read_image(path)


def test_bits_that_no_number_has_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.ones((6, 8), np.float64))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["BitsPerSample"].overwrite(1000)
    with pytest.raises(DataError, match=r"can't be read: damaged TIFF header"):
        read_image(path)
