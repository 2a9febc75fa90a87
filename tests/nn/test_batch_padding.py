"""Padding of batches to powers of two."""

from __future__ import annotations

import pytest
import torch

from tag2mask.nn.batch_padding import BatchPadding

GPU = torch.device("cuda")  # nothing is moved there


@pytest.mark.parametrize(
    ("count", "max_images", "full"),
    [
        (1, None, 1),
        (2, None, 2),
        (3, None, 4),
        (5, None, 8),
        (8, None, 8),
        (9, None, 16),
        (9, 12, 12),
        (12, 12, 12),
        (3, 12, 4),
        (1, 1, 1),
    ],
)
def test_padded_to_a_power_of_two(count: int, max_images: int | None, full: int) -> None:
    padded = BatchPadding(GPU, max_images)(torch.full((count, 3, 4, 5), 2.0))
    assert padded.shape == (full, 3, 4, 5)
    assert (padded[:count] == 2).all() and (padded[count:] == 0).all()


def test_not_padded_on_a_cpu() -> None:
    assert len(BatchPadding(torch.device("cpu"))(torch.ones(3, 3, 8, 8))) == 3
