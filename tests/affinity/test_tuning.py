"""The counts of a grid equal a walk and a confusion matrix for each of its settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tag2mask.affinity.pairs import existing_pairs
from tag2mask.affinity.random_walk import RandomWalk, random_walk
from tag2mask.affinity.tuning import (
    WalkGrid,
    WalkSetting,
    WalkTallies,
    best_settings,
    count_photo,
    walked_scores,
)
from tag2mask.maps.background_threshold import (
    against_background,
    labels_from_scores,
    with_background,
)
from tag2mask.metrics.confusion import Confusion
from tag2mask.metrics.threshold_curve import ThresholdCurve

CLASSES = 6
GRID = WalkGrid(
    alphas=(2.0, 7.5), betas=(1.0, 8.0), steps=(0, 3, 20), thresholds=(0.0, 0.3, 0.5, 0.8)
)


@dataclass
class Photo:
    """A photo's affinity, maps on its grid, tags and truth of twice the grid's size."""

    affinity: Tensor
    radius: int
    scores: np.ndarray
    tags: tuple[int, ...]
    truth: np.ndarray

    def tallies(self, grid: WalkGrid = GRID):
        backgrounds = [with_background(self.scores, alpha)[0] for alpha in grid.alphas]
        walked = walked_scores(
            lambda beta: RandomWalk(self.affinity, radius=self.radius, beta=beta),
            torch.from_numpy(np.stack(backgrounds)),
            torch.from_numpy(self.scores),
            grid=grid,
            from_grid=doubled,
        )
        return count_photo(self.truth, self.tags, walked, grid)

    def labels(self, setting: WalkSetting, score: float) -> np.ndarray:
        maps = torch.from_numpy(with_background(self.scores, setting.alpha))
        walked = random_walk(
            self.affinity, maps, radius=self.radius, beta=setting.beta, steps=setting.steps
        )
        scores = against_background(doubled(walked))
        return labels_from_scores(scores, self.tags, score, self.truth.shape)


def doubled(maps: Tensor) -> np.ndarray:
    return F.interpolate(maps[None], scale_factor=2, mode="bilinear")[0].numpy()


def photo_of(
    tags: tuple[int, ...],
    seed: int,
    truths: tuple[int, ...] = (0, 1, 2, 5, 255),
    size: tuple[int, int] = (6, 5),
    radius: int = 2,
) -> Photo:
    rng = np.random.default_rng(seed)
    exist = torch.from_numpy(existing_pairs(size, radius, published=False))
    affinity = torch.from_numpy(rng.random(tuple(exist.shape), np.float32)) * exist
    truth = rng.choice(np.array(truths, np.uint8), (2 * size[0], 2 * size[1]))
    return Photo(affinity, radius, rng.random((len(tags), *size), np.float32), tags, truth)


@given(
    tags=st.lists(
        st.sets(st.integers(0, CLASSES - 1), max_size=3).map(sorted).map(tuple),
        min_size=1,
        max_size=3,
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_equals_a_walk_and_a_confusion_for_each_setting(tags, seed) -> None:
    photos = [photo_of(one, seed + index) for index, one in enumerate(tags)]
    tallies = WalkTallies.empty(CLASSES, GRID)
    for photo in photos:
        tallies.add(photo.tallies())
    miou = tallies.miou()
    assert miou.shape == (len(GRID.settings), len(GRID.thresholds)) == (12, 4)
    for row, setting in zip(miou, GRID.settings, strict=True):
        for found, score in zip(row, GRID.thresholds, strict=True):
            confusion = Confusion.empty(CLASSES)
            for photo in photos:
                confusion.add(photo.truth, photo.labels(setting, score))
            # Pixels with exactly tied scores may differ.
            assert found == pytest.approx(confusion.miou(), abs=0.01)


def test_counts_equal_those_of_the_full_curve() -> None:
    scores = [np.random.default_rng(i).random((2, 12, 10), np.float32) for i in range(12)]
    truth = photo_of((1, 4), 0).truth
    counted = count_photo(truth, (1, 4), scores, GRID)
    assert counted.ids == (0, 1, 2, 5)  # mask ids of the truth and of the tags 1 and 4
    for index, one in enumerate(scores):
        curve = ThresholdCurve.empty(CLASSES, GRID.thresholds)
        curve.add(truth, (1, 4), one)
        true, predicted, hits = curve.tallies()
        ids = list(counted.ids)
        np.testing.assert_array_equal(counted.true, true[ids])
        np.testing.assert_array_equal(counted.predicted[index], predicted[ids])
        np.testing.assert_array_equal(counted.hits[index], hits[ids])


def test_a_photo_without_tags_or_classes_is_background_at_any_setting() -> None:
    truth = np.zeros((4, 6), np.uint8)
    truth[0] = 255
    counted = count_photo(truth, (), [], GRID)
    assert counted.ids == (0,)
    assert counted.true.tolist() == [18]
    assert counted.predicted.shape == counted.hits.shape == (12, 1, 4)
    assert (counted.predicted == 18).all() and (counted.hits == 18).all()
    tallies = WalkTallies.empty(CLASSES, GRID)
    tallies.add(counted)
    assert (tallies.miou() == 1).all()


def test_merging_equals_counting_together() -> None:
    photos = [photo_of((0, 3), 1).tallies(), photo_of((2,), 2).tallies()]
    both, part, other = (WalkTallies.empty(CLASSES, GRID) for _ in range(3))
    both.add(photos[0])
    both.add(photos[1])
    part.add(photos[0])
    other.add(photos[1])
    part.merge(other)
    np.testing.assert_array_equal(part.miou(), both.miou())


def test_void_everywhere_has_no_miou() -> None:
    tallies = WalkTallies.empty(CLASSES, GRID)
    tallies.add(count_photo(np.full((3, 3), 255, np.uint8), (), [], GRID))
    assert np.isnan(tallies.miou()).all()


def test_the_best_comes_first_and_the_shortest_walk_of_ties() -> None:
    grid = WalkGrid((1.0, 4.0), (8.0,), (64, 16), (0.2, 0.4, 0.6))
    miou = np.array([[0.5, 0.6, 0.6], [0.1, 0.2, 0.3], [0.2, 0.6, 0.1], [0.7, 0.1, 0.1]])
    ranked = best_settings(grid, miou)
    assert [(one.setting, one.threshold, one.miou) for one in ranked] == [
        (WalkSetting(4.0, 8.0, 16), 0.2, 0.7),
        (WalkSetting(1.0, 8.0, 16), 0.4, 0.6),
        (WalkSetting(1.0, 8.0, 64), 0.4, 0.6),
        (WalkSetting(4.0, 8.0, 64), 0.6, 0.3),
    ]


def test_outermost_values_of_the_grid() -> None:
    grid = WalkGrid((1.0, 4.0, 6.0), (8.0,), (0, 16, 64), (0.5,))
    assert grid.outermost(WalkSetting(4.0, 8.0, 16)) == []
    assert grid.outermost(WalkSetting(1.0, 8.0, 64)) == ["alphas", "steps"]
    assert grid.outermost(WalkSetting(4.0, 8.0, 0)) == []
