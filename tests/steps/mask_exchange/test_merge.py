"""Overlapping regions: the higher score, else the smaller one, whatever their order."""

from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.errors import DataError
from tag2mask.formats.annotations import Region
from tag2mask.steps.mask_exchange.merge import RegionMerger

SIZE = (6, 8)


def region(box, score=None, label="cat"):
    top, left, bottom, right = box
    pixels = np.zeros(SIZE, np.bool_)
    pixels[top:bottom, left:right] = True
    return Region(label, score, "mask", partial(np.copy, pixels))


def merged(regions, values, *, scored):
    merger = RegionMerger(SIZE, scored=scored)
    for one, value in zip(regions, values, strict=True):
        merger.add(one, value)
    return merger


LARGE, SMALL = (0, 0, 6, 8), (1, 1, 4, 5)


def test_the_smaller_region_is_shown_without_scores():
    for order in permutations([(region(LARGE), 1), (region(SMALL), 2)]):
        found = merged(*zip(*order, strict=True), scored=False)
        assert (found.mask[1:4, 1:5] == 2).all() and (found.mask == 1).sum() == 48 - 12
        assert found.dropped == 12


def test_the_higher_score_is_shown():
    for order in permutations([(region(LARGE, 0.9), 1), (region(SMALL, 0.3), 2)]):
        found = merged(*zip(*order, strict=True), scored=True)
        assert (found.mask == 1).all() and found.dropped == 12


def test_regions_to_ignore_are_below_all_others():
    for order in permutations([(region(SMALL, 0.9), 255), (region(LARGE, 0.1), 1)]):
        found = merged(*zip(*order, strict=True), scored=True)
        assert (found.mask == 1).all() and found.dropped == 0
    found = merged([region(SMALL)], [255], scored=False)
    assert (found.mask[1:4, 1:5] == 255).all() and (found.mask == 0).sum() == 36


def test_equal_classes_drop_nothing():
    assert merged([region(LARGE), region(SMALL)], [1, 1], scored=False).dropped == 0


BOXES = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(3, 6), st.integers(4, 8))


@given(
    st.lists(st.tuples(BOXES, st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from([1, 2, 255]))),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_the_order_doesnt_matter(items, scored, random):
    items = items[:4]
    shuffled = random.sample(items, len(items))
    one, other = (
        merged([region(b, s) for b, s, _ in own], [v for *_, v in own], scored=scored)
        for own in (items, shuffled)
    )
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.dropped == other.dropped


def test_a_region_of_another_size_is_an_error():
    with pytest.raises(DataError, match="is 8x6 px, the photo 4x5"):
        RegionMerger((5, 4), scored=False).add(region(SMALL), 1)
