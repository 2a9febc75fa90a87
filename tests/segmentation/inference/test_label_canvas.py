"""A photo labeled in blocks gets the same labels as in one block."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.errors import DataError
from tag2mask.maps.tiles import MapBlock
from tag2mask.segmentation.inference import label_canvas
from tag2mask.segmentation.inference.label_canvas import LabelCanvas, PhotoLabels

pytestmark = pytest.mark.smoke

IDS = np.array([0, 2, 7], np.uint8)


def maps_of(cells: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).random((3, *cells), np.float32)


def in_one_block(size: tuple[int, int], maps: np.ndarray, **options: Any) -> PhotoLabels:
    canvas = LabelCanvas(size, maps.shape[1:], **options)
    canvas.write_labels(MapBlock(maps, 0, 0), IDS)
    canvas.write_probabilities(MapBlock(maps, 0, 0))
    return canvas.result


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    cells=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    step=st.integers(1, 9),
)
def test_blocks_equal_one_block(size: tuple[int, int], cells: tuple[int, int], step: int) -> None:
    maps = maps_of(cells)
    whole = in_one_block(size, maps, confidence="float32", probabilities=maps.shape)
    canvas = LabelCanvas(size, cells, confidence="float32", probabilities=maps.shape)
    canvas.result.labels[:] = 99
    for top, left in product(range(0, cells[0], step), range(0, cells[1], step)):
        above, beside = max(top - 1, 0), max(left - 1, 0)
        block = MapBlock(maps[:, above : top + step, beside : left + step], above, beside)
        canvas.write_labels(block, IDS)
        canvas.write_probabilities(block)
    np.testing.assert_array_equal(canvas.result.labels, whole.labels)
    assert canvas.result.confidence is not None and whole.confidence is not None
    np.testing.assert_array_equal(canvas.result.confidence, whole.confidence)
    assert canvas.result.probabilities is not None
    np.testing.assert_array_equal(canvas.result.probabilities, maps.astype(np.float16))


def test_strips_equal_one_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = maps_of((9, 7))
    whole = in_one_block((50, 30), maps, confidence="uint8")
    monkeypatch.setattr(label_canvas, "STRIP_PIXELS", 61)
    strips = in_one_block((50, 30), maps, confidence="uint8")
    np.testing.assert_array_equal(strips.labels, whole.labels)
    np.testing.assert_array_equal(strips.confidence, whole.confidence)  # type: ignore[arg-type]


def test_uint8_confidence_is_rounded() -> None:
    floats = in_one_block((20, 20), maps_of((20, 20)), confidence="float32").confidence
    small = in_one_block((20, 20), maps_of((20, 20)), confidence="uint8").confidence
    assert floats is not None and small is not None and small.dtype == np.uint8
    np.testing.assert_array_equal(small, np.rint(floats * 255))


def test_only_requested_arrays_are_stored() -> None:
    found = in_one_block((5, 5), maps_of((3, 3)))
    assert found.confidence is None and found.probabilities is None
    assert set(np.unique(found.labels)) <= {0, 2, 7}


def test_nan_raises() -> None:
    maps = maps_of((3, 3))
    maps[1, 1, 1] = np.nan
    with pytest.raises(DataError, match=r"aren't finite.*predict\.precision"):
        in_one_block((9, 9), maps)
