"""Quality scores: mean ranks, whatever the scale of the evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from tag2mask.metrics.quality import quality_scores, soft_minimum

pytestmark = pytest.mark.smoke

values = st.lists(st.floats(0, 1, width=16), min_size=1, max_size=20)


@given(values)
def test_one_kind_gives_the_ranks_of_scipy(given_values: list[float]) -> None:
    found = quality_scores([{"agreement": value} for value in given_values])
    expected = (rankdata(given_values) - 0.5) / len(given_values)
    np.testing.assert_allclose(found, expected)


@given(values)
def test_the_scale_of_a_kind_does_not_matter(given_values: list[float]) -> None:
    other = list(reversed(given_values))
    plain = [{"a": a, "b": b} for a, b in zip(given_values, other, strict=True)]
    scaled = [{"a": 3 * own["a"] - 2, "b": own["b"]} for own in plain]
    assert quality_scores(scaled) == quality_scores(plain)


def test_a_missing_kind_is_left_out_of_the_mean() -> None:
    found = quality_scores([{"a": 0.1, "b": 0.9}, {"a": 0.2}, {"b": 0.1}, {}])
    assert found == [(0.25 + 0.75) / 2, 0.75, 0.25, None]
    assert quality_scores([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_soft_minimum_is_between_minimum_and_mean(given_values: list[float]) -> None:
    array = np.array(given_values)
    assert array.min() - 1e-9 <= soft_minimum(array) <= array.mean() + 1e-9
    assert soft_minimum(array, sharpness=500) == pytest.approx(array.min(), abs=0.01)
