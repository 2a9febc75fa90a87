"""Outlines along the edges of pixels."""

import time

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


def test_thousands_of_holes_take_no_time_each_with_all_others():
    pixels = np.random.default_rng(0).random((300, 300)) > 0.06
    began = time.process_time()
    outlines = mask_polygons(pixels)
    assert time.process_time() - began < 5, "it was half a minute"
    flat = [[number for corner in outline for number in corner] for outline in outlines]
    assert np.array_equal(draw_outline(flat, *pixels.shape), pixels)


def test_holes_are_cut_from_one_edge_in_its_direction_and_from_corners():
    pixels = np.array([list("#####"), list("#.#.#"), list("#####"), list("#.###"), list("#####")])
    upper = [(1, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1), (1, 0)]
    lower = [(1, 3), (1, 4), (2, 4), (2, 3), (1, 3), (1, 2)]  # its cut begins at a corner
    right = [(3, 0), (3, 1), (3, 2), (4, 2), (4, 1), (3, 1), (3, 0)]
    upper[3:3] = lower
    assert mask_polygons(pixels == "#") == [[(0, 0), *upper, *right, (5, 0), (5, 5), (0, 5)]]
