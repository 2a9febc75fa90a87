"""Parts as runs along columns: those that a labeling of pixels finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tag2mask.formats.column_runs import column_parts
from tag2mask.formats.parts import label_parts, mask_parts
from tag2mask.formats.run_lengths import pixels_of_runs

MASKS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 0, 1, 2, 255]),
)


@pytest.mark.parametrize("by_class", [False, True])
@given(mask=MASKS)
def test_parts_are_those_of_the_pixels(by_class, mask):
    found = {}
    for part in column_parts(mask, by_class=by_class):
        assert part.runs[0] >= 0 and all(part.runs[1:-1])  # no empty run but at the ends
        pixels = pixels_of_runs(part.runs, mask.size).reshape(mask.shape, order="F")
        assert part.area == pixels.sum()
        found[pixels.tobytes()] = (part.value, part.box)
    labels = label_parts(mask, by_class=by_class)
    numbers = [n for n in np.unique(labels) if n]
    parts = {
        (part.value, part.box, part.pixels.tobytes())
        for part in mask_parts(mask, by_class=by_class)
    }
    assert set(found) == {(labels == number).tobytes() for number in numbers}
    assert sorted(found.values()) == sorted((value, box) for value, box, _ in parts)


def test_parts_are_ordered_by_their_first_pixel():
    mask = np.array([[0, 1, 1], [2, 0, 1], [2, 0, 0]], np.uint8)
    assert [(p.value, p.box, p.area, p.runs) for p in column_parts(mask, by_class=False)] == [
        (2, (0, 1, 1, 2), 2, [1, 2, 6]),
        (1, (1, 0, 2, 2), 3, [3, 1, 2, 2, 1]),
    ]
    assert list(column_parts(np.zeros((2, 3), np.uint8), by_class=True)) == []
