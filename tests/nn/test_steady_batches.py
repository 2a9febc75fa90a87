"""Batches of few shapes."""

from __future__ import annotations

import torch

from tag2mask.nn.steady_batches import SteadyBatches

GPU = torch.device("cuda")  # nothing is moved there


def test_a_smaller_batch_is_filled_up() -> None:
    steady = SteadyBatches(GPU)
    assert steady(torch.ones(3, 3, 4, 5)).shape == (3, 3, 4, 5)
    filled = steady(torch.full((1, 3, 4, 5), 2.0))
    assert filled.shape == (3, 3, 4, 5)
    assert (filled[0] == 2).all() and (filled[1:] == 0).all()


def test_a_larger_one_sets_the_size() -> None:
    steady = SteadyBatches(GPU)
    assert [len(steady(torch.ones(n, 3, 4, 5))) for n in (2, 5, 1, 5)] == [2, 5, 5, 5]


def test_every_size_of_image_has_its_own() -> None:
    steady = SteadyBatches(GPU)
    steady(torch.ones(4, 3, 8, 8))
    assert len(steady(torch.ones(2, 3, 8, 4))) == 2


def test_a_cpu_computes_nothing_in_vain() -> None:
    steady = SteadyBatches(torch.device("cpu"))
    steady(torch.ones(4, 3, 8, 8))
    assert len(steady(torch.ones(2, 3, 8, 8))) == 2
