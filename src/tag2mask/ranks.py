"""What a step asks of the processes that share its work, without torch.

``Runtime`` is such ranks; where no network of torch runs, `OneProcess` takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from tag2mask.progress import ProgressBar

T = TypeVar("T")


class Ranks(Protocol):
    """Processes that do the same step, each its share; see ``Runtime`` for what the methods do."""

    @property
    def rank(self) -> int:
        """This process's number."""

    def shard(self, items: Sequence[T]) -> list[T]:
        """This rank's share of the items."""

    def barrier(self) -> None:
        """Wait for every rank."""

    def together(self, work: Callable[[], T]) -> list[T]:
        """Every rank's result, by rank; an error of one becomes one of all."""

    def progress(self, total: int, description: str, *,
                 done: int = 0) -> AbstractContextManager[ProgressBar]:
        """A progress bar on rank 0."""


class OneProcess:
    """This process alone."""

    rank = 0

    def shard(self, items: Sequence[T]) -> list[T]:
        """All items."""
        return list(items)

    def barrier(self) -> None:
        """Nobody to wait for."""

    def together(self, work: Callable[[], T]) -> list[T]:
        """The result alone."""
        return [work()]

    def progress(self, total: int, description: str, *, done: int = 0) -> ProgressBar:
        """A progress bar."""
        return ProgressBar(total, description, done=done)
