"""Distances of neighbors: loops and torch agree, and threads change nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_backbone import random

from tag2mask.affinity import pair_distance as module
from tag2mask.affinity.pair_distance import pair_distance
from tag2mask.affinity.pairs import pair_offsets


def weights_of(distance: Tensor) -> Tensor:
    """Return random weights of both signs; four in ten are 0."""
    return random(*distance.shape, seed=1).round()


def distances_and_gradients(features: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Return the distances, and the gradient of their weighted sum."""
    features = features.requires_grad_()
    distance = pair_distance(features, radius)
    (gradient,) = torch.autograd.grad((distance * weights_of(distance)).sum(), features)
    return distance.detach(), gradient


@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    radius=st.integers(1, 6),
    steps=st.sampled_from([0, 2]),
)
@settings(max_examples=40, deadline=None)
def test_compiled_loops_equal_torch(
    batch: int, height: int, width: int, radius: int, steps: int
) -> None:
    features = random(batch, height, width, 37)
    if steps:  # many differences are 0, where |x| has no slope
        features = (features * steps).round()
    distance, gradient = distances_and_gradients(features.clone(), radius)
    offsets = pair_offsets(radius)
    wanted, slopes = torch.zeros_like(distance), torch.zeros_like(features)
    module._distances_by_offset(features, offsets, wanted)
    module._gradients_by_offset(features, offsets, weights_of(distance) / 37, slopes)
    torch.testing.assert_close(distance, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, slopes, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_no_bit(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = random(2, 7, 6, 20)
    wanted = distances_and_gradients(features.clone(), 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for one, other in zip(distances_and_gradients(features.clone(), 4), wanted, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shape", [(0, 4, 5, 3), (2, 0, 5, 3), (2, 4, 0, 3)])
def test_nothing_to_compare(shape: tuple[int, ...]) -> None:
    distance, gradient = distances_and_gradients(torch.zeros(shape), 3)
    assert distance.numel() == 0 and gradient.shape == shape
