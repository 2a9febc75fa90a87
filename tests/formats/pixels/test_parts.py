"""The connected parts of masks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import masks
from scipy import ndimage

from tag2mask.formats.pixels.parts import mask_parts
from tag2mask.formats.pixels.run_lengths import pixels_of_runs


@settings(max_examples=200, deadline=None)
@given(masks(), st.booleans())
def test_parts_are_those_of_a_plain_labeling(mask, by_class):
    found = []
    for part in mask_parts(mask, by_class=by_class):
        assert part.runs[0] >= 0 and all(part.runs[1:-1])  # no empty run but at the ends
        pixels = pixels_of_runs(part.runs, mask.size).reshape(mask.shape, order="F")
        assert part.area == pixels.sum() and (mask[pixels] == part.value).all()
        left, top, width, height = part.box
        inside = np.zeros(mask.shape, bool)
        inside[top : top + height, left : left + width] = part.pixels
        assert np.array_equal(inside, pixels)
        assert part.pixels[0].any() and part.pixels[-1].any()
        assert part.pixels[:, 0].any() and part.pixels[:, -1].any()
        found.append(pixels.tobytes())
    expected = []
    for value in {*np.unique(mask).tolist()} - {0, 255}:
        labels, count = ndimage.label(mask == value, np.ones((3, 3)))
        parts = [mask == value] if by_class else [labels == n + 1 for n in range(count)]
        expected += [part.tobytes() for part in parts]
    assert sorted(found) == sorted(expected)


def test_parts_are_ordered_by_their_first_pixel():
    mask = np.array([[0, 1, 1], [2, 0, 1], [2, 0, 0]], np.uint8)
    assert [(p.value, p.box, p.area, p.runs) for p in mask_parts(mask, by_class=False)] == [
        (2, (0, 1, 1, 2), 2, [1, 2, 6]),
        (1, (1, 0, 2, 2), 3, [3, 1, 2, 2, 1]),
    ]
    assert list(mask_parts(np.zeros((2, 3), np.uint8), by_class=True)) == []
