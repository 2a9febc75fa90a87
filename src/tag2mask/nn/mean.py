"""A mean as its sum and count, which can be summed over ranks before dividing."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Mean(NamedTuple):
    """A mean as a differentiable sum and its count, both scalar tensors."""

    total: Tensor
    count: Tensor  # type: ignore[assignment]  # hides tuple.count

    @property
    def value(self) -> Tensor:
        """The mean, a scalar; 0 if the count is 0."""
        return self.total / self.count.clamp(min=1)
