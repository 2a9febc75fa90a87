"""The experiment on feature maps measures distances to the nearest object of the right class."""

from __future__ import annotations

import numpy as np
import torch
from benchmarks.experiments.small_objects.features import class_maps, distances, fit, pooled


def test_the_distance_is_to_the_nearest_object_of_the_class() -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[0:2, 0:2], mask[14, 14], mask[6, 14] = 1, 1, 2
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0, 3, 2] = 1.0  # the center of this cell is at (14, 10)
    maps[0, 1, 1, 3] = 1.0  # an object of class 2 is at its center
    assert distances(maps, [mask]) == [4.0, 0.0]


def test_the_best_cells_learn_a_single_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(40, 3, 12, 12, generator=generator)
    tags = (torch.arange(40) % 2).float()[:, None]
    features[tags[:, 0] > 0, 0, 5, 7] += 6.0
    weight, bias = fit(features, tags, "top", 40)
    maps = class_maps(features, weight)
    found = [divmod(int(one[0].argmax()), 12) for one in maps[tags[:, 0] > 0]]
    assert found == [(5, 7)] * 20
    right = pooled(maps, "top") + bias > 0
    assert (right == (tags > 0)).all()
    again, other = (fit(features, tags, "top", 40, seed=seed)[0] for seed in (0, 1))
    assert torch.equal(weight, again) and not torch.equal(weight, other)
