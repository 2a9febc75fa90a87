"""Outlines along the edges of pixels."""

import numpy as np
from hypothesis import given, settings
from mask_cases import masks

from tag2mask.formats.coco.outlines import draw_outline
from tag2mask.formats.pixels.polygons import mask_polygons


@settings(max_examples=200, deadline=None)
@given(masks())
def test_polygons_filled_again_are_the_mask(mask):
    pixels = mask > 0
    outlines = mask_polygons(pixels)
    flat = [[number for corner in outline for number in corner] for outline in outlines]
    assert np.array_equal(draw_outline(flat, *pixels.shape), pixels)
    for outline in outlines:
        following = [*outline[1:], outline[0]]
        steps = [(a[0] != b[0], a[1] != b[1]) for a, b in zip(outline, following, strict=True)]
        assert all(x != y for x, y in steps)  # along rows and columns, no step of length 0


def test_a_part_with_a_hole_is_one_polygon():
    pixels = np.ones((5, 5), np.bool_)
    pixels[2, 2] = False
    [outline] = mask_polygons(pixels, left=10)
    assert len(outline) == 4 + 4 + 3 and min(outline) == (10, 0)
