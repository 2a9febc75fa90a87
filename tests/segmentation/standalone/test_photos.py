"""Reading of photos by predict.py alone."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from tag2mask.segmentation.standalone.photos import read_photo


@pytest.mark.parametrize("side", [14_000, 32_000])
def test_a_jpeg_too_short_for_its_size(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decoder takes memory for all pixels before it finds that they are missing."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as `run` does
    path = tmp_path / "x.jpg"
    Image.new("RGB", (64, 64)).save(path, progressive=True)
    data = bytearray(path.read_bytes())
    size = data.index(b"\xff\xc2") + 5
    data[size : size + 4] = struct.pack(">HH", side, side)
    path.write_bytes(data)
    found = (
        "more than a thousand megapixels" if side == 32_000 else "bytes can't hold 14000 x 14000"
    )
    with pytest.raises(ValueError, match=found):
        read_photo(path, lambda size: size[0])
