"""What a step asks of the processes that share its work, without torch.

``Runtime`` is such ranks; where no network of torch runs, `OneProcess` takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from tag2mask.errors import Tag2MaskError
from tag2mask.runtime.progress import ProgressBar

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime


def on_first_rank(runtime: Runtime, work: Callable[[], object]) -> None:
    """Call a function on rank 0 alone; the other ranks wait, and stop where it failed.

    Raises:
        Tag2MaskError: what it raised; on the other ranks, that the first process stopped.
        OSError: what it raised.
    """
    failure: Tag2MaskError | OSError | None = None
    if runtime.rank == 0:
        try:
            work()
        except (Tag2MaskError, OSError) as error:
            failure = error
    failed = runtime.all_gather_object(failure is not None)[0]
    if failure is not None:
        raise failure
    if failed:
        raise Tag2MaskError("the first process stopped", fix="Its own message says why.")


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

    def gather_results(self, work: Callable[[], T]) -> list[T]:
        """Every rank's result, by rank; an error of one becomes one of all."""

    def progress(
        self, total: int, description: str, *, done: int = 0
    ) -> AbstractContextManager[ProgressBar]:
        """A progress bar on rank 0."""


class OneProcess:
    """This process alone."""

    rank = 0

    def shard(self, items: Sequence[T]) -> list[T]:
        """All items."""
        return list(items)

    def barrier(self) -> None:
        """Nobody to wait for."""

    def gather_results(self, work: Callable[[], T]) -> list[T]:
        """The result alone."""
        return [work()]

    def progress(self, total: int, description: str, *, done: int = 0) -> ProgressBar:
        """A progress bar."""
        return ProgressBar(total, description, done=done)
