"""Compressed run lengths of any size, and damaged ones."""

import pytest
from pycocotools import mask as coco_mask

from tag2mask.formats.coco.outlines import outline_extent


def test_the_longest_run_of_any_photo_is_read():
    size = [31_250, 32_000]
    runs = {"size": size, "counts": [0, 10**9 - 1, 1]}
    code = coco_mask.frPyObjects(runs, *size)
    found = outline_extent({"size": size, "counts": code["counts"].decode()})
    assert found.run_sizes == {(31_250, 32_000)}


def test_a_number_that_never_ends_is_refused():
    with pytest.raises(ValueError, match="a number that is too long"):
        outline_extent({"size": [2, 3], "counts": "o" * 400_000})
