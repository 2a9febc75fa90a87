"""Cross-fitting: a threshold isn't chosen on the photos that it is scored on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tag2mask.data.index import Sample
from tag2mask.evaluation.cross_fit import cross_fit
from tag2mask.maps.cam_map import CamMap

pytestmark = pytest.mark.smoke


class Photos:
    """Photos of one row of four pixels, whose object is right at one threshold only."""

    classes = 1

    def __init__(self, best: dict[str, float]) -> None:
        self.samples = [Sample(name, Path(name), (1, 4), (0,), "1-1") for name in best]
        self.best = best
        self.truths = {name: Path(name) for name in best}

    def read(self, sample: Sample) -> CamMap:
        t = self.best[sample.id]
        scores = np.array([[[0.0, t - 0.005, t + 0.005, 1.0]]], np.float32)
        return CamMap(sample.id, (0,), scores, (1, 4), np.ones(1, np.float32))

    def read_mask(self, path: Path, sample: Sample) -> np.ndarray:
        return np.array([[0, 0, 1, 1]], np.uint8)


def test_each_half_is_counted_at_the_threshold_of_the_other() -> None:
    names = [f"photo {i}" for i in range(6)]
    first = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[::2]
    photos = Photos({name: 0.3 if name in first else 0.6 for name in names})
    found = cross_fit(photos, photos.samples, photos.truths)
    assert found.thresholds == (0.3, 0.6) and set(found.cells) == set(names)
    for name, cells in found.cells.items():
        # The object misses a pixel at a threshold that is too high, and has one too many below.
        too_high, too_low = [[0, 0, 2], [1, 0, 1], [1, 1, 1]], [[0, 0, 1], [0, 1, 1], [1, 1, 2]]
        assert cells.tolist() == (too_high if name in first else too_low)


def test_halves_that_agree_change_nothing() -> None:
    photos = Photos({f"photo {i}": 0.3 for i in range(5)})
    found = cross_fit(photos, photos.samples, photos.truths)
    assert found.thresholds == (0.3, 0.3)
    assert all(cells.tolist() == [[0, 0, 2], [1, 1, 2]] for cells in found.cells.values())


def test_photos_of_one_group_are_in_one_half() -> None:
    photos = Photos({f"part {i} view {v}": 0.3 for i in range(3) for v in range(2)})
    photos.samples = [replace(s, group=s.id[:6]) for s in photos.samples]
    one_group = [s for s in photos.samples if s.group == "part 0"]
    assert cross_fit(photos, one_group, photos.truths) is None
    assert cross_fit(photos, photos.samples, photos.truths) is not None


def test_nothing_to_halve() -> None:
    photos = Photos({"a": 0.3})
    assert cross_fit(photos, photos.samples, photos.truths) is None
    assert cross_fit(photos, [], photos.truths) is None
