"""Shares of photos with better labels, and that every photo comes equally often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tag2mask.training.mixture import PhotoMix
from tag2mask.training.sampler import StepBatchSampler


def photos_of(mix: PhotoMix, epochs: range) -> list[int]:
    return [mix.address((epoch, place))[1] for epoch in epochs for place in range(mix.photos)]


@pytest.mark.parametrize(("share", "places"), [(0.25, 25), (0.5, 50), (1.0, 100), (0.001, 1)])
def test_the_share_is_kept_in_every_epoch(share: float, places: int) -> None:
    mix = PhotoMix(100, [3, 50, 99], share, seed=0)
    for epoch in range(3):
        found = photos_of(mix, range(epoch, epoch + 1))
        assert sum(photo in (3, 50, 99) for photo in found) == places


def test_photos_of_a_group_come_equally_often() -> None:
    counts = Counter(photos_of(PhotoMix(10, [1, 4, 7], 0.5, seed=3), range(21)))
    assert [counts[photo] for photo in (1, 4, 7)] == [35, 35, 35]
    assert {counts[photo] for photo in (0, 2, 3, 5, 6, 8, 9)} == {15}


def test_no_place_repeats_another_one() -> None:
    mix = PhotoMix(10, [1, 4], 0.7, seed=0)
    addresses = [mix.address((epoch, place)) for epoch in range(4) for place in range(10)]
    assert len(set(addresses)) == len(addresses)  # crops are drawn from (passes, photo)


def test_each_order_is_drawn_once_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    mix, seeds, draw = PhotoMix(10, [1, 4, 7], 0.5, seed=3), [], np.random.default_rng
    alone = [PhotoMix(10, [1, 4, 7], 0.5, seed=3).address((1, place)) for place in range(10)]
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(seed) or draw(seed))
    found = {(epoch, place): mix.address((epoch, place)) for epoch in (1, 0) for place in range(10)}
    assert [found[1, place] for place in range(10)] == alone
    # 5 places of 3 photos and 5 of 7: passes 1-3 and 0-1, then 0-1 and 0.
    assert len(seeds) == 8


def test_all_photos_may_be_better() -> None:
    assert set(photos_of(PhotoMix(3, [0, 1, 2], 0.1, seed=0), range(1))) == {0, 1, 2}


def test_the_sampler_asks_the_mixture() -> None:
    mix = PhotoMix(10, [9], 0.5, seed=0)
    batches = list(StepBatchSampler(10, 5, start=0, stop=4, seed=0, mix=mix))
    assert sum(photo == 9 for batch in batches for _, photo in batch) == 10
    later = list(StepBatchSampler(10, 5, start=2, stop=4, seed=0, mix=mix))
    assert later == batches[2:]
