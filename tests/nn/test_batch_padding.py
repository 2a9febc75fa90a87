"""Batches of few shapes."""

from __future__ import annotations

import pytest
import torch

from tag2mask.nn.batch_padding import BatchPadding

GPU = torch.device("cuda")  # nothing is moved there


@pytest.mark.parametrize(
    ("count", "most", "full"),
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
def test_filled_up_to_a_power_of_two(count: int, most: int | None, full: int) -> None:
    filled = BatchPadding(GPU, most)(torch.full((count, 3, 4, 5), 2.0))
    assert filled.shape == (full, 3, 4, 5)
    assert (filled[:count] == 2).all() and (filled[count:] == 0).all()


def test_a_cpu_computes_nothing_in_vain() -> None:
    assert len(BatchPadding(torch.device("cpu"))(torch.ones(3, 3, 8, 8))) == 3
