"""A mean in the making: sum and count, so that ranks add up both."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Mean(NamedTuple):
    """A mean in the making: differentiable sum and its count, both scalars."""

    total: Tensor
    count: Tensor  # type: ignore[assignment]  # hides tuple.count, which nobody wants here

    @property
    def value(self) -> Tensor:
        """The mean; 0 where nothing was counted."""
        return self.total / self.count.clamp(min=1)
