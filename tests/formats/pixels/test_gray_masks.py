"""Masks as gray images: values in and out."""

import os

import numpy as np
import pytest
from PIL import Image

from tag2mask.errors import DataError
from tag2mask.formats.pixels.gray_masks import read_values, value_regions, write_gray


def test_values_of_all_kinds_of_images(tmp_path):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "new/a.png"
    write_gray(path, values)
    with Image.open(path) as image:
        assert (image.mode, image.format, image.size) == ("L", "PNG", (3, 2))
    assert read_values(path).tolist() == values.tolist()
    palette = Image.fromarray(values)
    palette.putpalette(bytes(range(255, -1, -1)) * 3)
    palette.save(tmp_path / "p.png")
    assert read_values(tmp_path / "p.png").tolist() == values.tolist()
    Image.fromarray(values > 2).save(tmp_path / "b.png")
    assert read_values(tmp_path / "b.png").tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_mask_read_again_after_it_was_replaced(tmp_path):
    path = tmp_path / "a.png"
    write_gray(path, np.array([[0, 1]], np.uint8))
    _, [region] = value_regions(path, {0: None, 1: "a"})
    assert region.mask().tolist() == [[False, True]]
    write_gray(path, np.array([[1, 0]], np.uint8))
    os.utime(path, ns=(1, 1))
    assert region.mask().tolist() == [[True, False]]


def test_what_is_no_mask(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(DataError, match="mask is missing"):
        read_values(path)
    Image.new("RGB", (2, 2)).save(path)
    with pytest.raises(DataError, match="one channel"):
        read_values(path)
    write_gray(path, np.zeros((40, 40), np.uint8))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="can't be read"):
        read_values(path)
    write_gray(path, np.full((2, 2), 7, np.uint8))
    with pytest.raises(DataError, match="the values 7, which are no classes"):
        value_regions(path, {0: None, 1: "a"})
