"""Sums over photos: bounded memory, and the row of each photo."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from tag2mask.evaluation.counts import FullMaps, MaskCounts, PhotoCounts, SplitCounts
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.threshold_curve import ThresholdCurve

pytestmark = pytest.mark.smoke

CLASSES = 20


def empty() -> SplitCounts:
    return SplitCounts.empty(CLASSES, {"SEAM": ThresholdCurve.empty(CLASSES, [0.2, 0.5])})


def photo(number: int, *, masked: bool = True, calibrated: bool = False) -> PhotoCounts:
    rng = np.random.default_rng(number)
    row = {"id": f"{number}", "group": f"{number}", "evidence": {"certainty": 0.5}}
    found = PhotoCounts(row, np.zeros(CLASSES, np.float32), calibrated=calibrated)
    if masked:
        found.truth = rng.integers(0, CLASSES + 1, (16, 16)).astype(np.uint8)
        found.masks = MaskCounts.empty(CLASSES)
        found.masks.add(found.truth, rng.permutation(found.truth), 0.02)
        scores = rng.random((2, 16, 16), np.float32)
        found.stages["SEAM"] = FullMaps((3, 7), scores, 0.5)
    return found


def test_memory_does_not_grow_with_the_counts_of_the_photos() -> None:
    total, photos = empty(), [photo(number) for number in range(8)]
    counts = len(total.add(photos[0])["counts"]["SEAM"])
    assert counts > 30
    tracemalloc.start()
    for number in range(400):
        total.add(photos[number % 8])
    gc.collect()  # what waits for it isn't held
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 400 < 24 * counts / 2  # bytes per photo; its counts alone are 24 bytes each


def test_the_resampled_counts_are_those_of_the_rows() -> None:
    total = empty()
    rows = [total.add(photo(n, masked=n != 2, calibrated=n == 1)) for n in range(5)]
    assert rows[2]["counts"] == {} and total.masked == 4
    for name, chosen in (("pseudo masks", {0, 1, 3, 4}), ("SEAM", {0, 1, 3, 4})):
        tallies = ResampledTallies(CLASSES)
        for n in chosen:
            tallies.add(f"{n}", np.array(rows[n]["counts"][name]))
        np.testing.assert_array_equal(total.resampled[name].miou(), tallies.miou())
    others = ResampledTallies(CLASSES)
    for n in (0, 3, 4):
        others.add(f"{n}", np.array(rows[n]["counts"]["pseudo masks"]))
    np.testing.assert_array_equal(total.others.tallies.miou(), others.miou())


def test_ranks_add_up_to_one_process() -> None:
    alone, ranks = empty(), [empty(), empty()]
    for n in range(5):
        alone.add(photo(n, calibrated=n == 1))
        ranks[n % 2].add(photo(n, calibrated=n == 1))
    merged = empty().merge_ranks(ranks)
    assert merged.masked == 5 and len(merged.evidence) == 5
    np.testing.assert_array_equal(merged.masks.confusion.counts, alone.masks.confusion.counts)
    np.testing.assert_array_equal(merged.others.confusion.counts, alone.others.confusion.counts)
    for name, tallies in alone.resampled.items():
        np.testing.assert_array_equal(merged.resampled[name].miou(), tallies.miou())
