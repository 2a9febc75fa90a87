"""Run lengths of pixels and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.formats.pixels.run_lengths import pixels_of_runs, run_lengths


@given(st.lists(st.booleans(), max_size=40))
def test_runs_give_the_pixels_back(values):
    pixels = np.array(values, np.bool_)
    runs = run_lengths(pixels)
    assert np.array_equal(pixels_of_runs(runs, len(values)), pixels)
    assert all(runs[1:]) and sum(runs) == len(values)


@pytest.mark.parametrize("runs", [[3], [-1, 5], [], [10**12]])
def test_runs_of_another_number_of_pixels(runs):
    with pytest.raises(ValueError, match="run length"):
        pixels_of_runs(runs, 4)
