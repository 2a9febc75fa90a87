"""The processes (ranks) that share the work of a step, as an interface without torch.

``session.Runtime`` implements it; `OneProcess` does where no torch network runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from tag2mask.artifacts.sub_folders import decide_sub_folders, use_sub_folders
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
    """Processes that run the same step, each on its share; see ``Runtime`` for the methods."""

    @property
    def rank(self) -> int:
        """This process's number."""

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this rank's share of the items."""

    def barrier(self) -> None:
        """Wait for every rank."""

    def gather_results(self, work: Callable[[], T]) -> list[T]:
        """Return every rank's result, by rank; an error on one rank is raised on all."""

    def progress(
        self, total: int, description: str, *, done: int = 0, only_if_long: bool = False
    ) -> AbstractContextManager[ProgressBar]:
        """Return a progress bar, shown on rank 0; see `ProgressBar`."""


class OneProcess:
    """This process alone."""

    rank = 0

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return all items."""
        return list(items)

    def barrier(self) -> None:
        """Return at once."""

    def gather_results(self, work: Callable[[], T]) -> list[T]:
        """Return the only result."""
        return [work()]

    def progress(
        self, total: int, description: str, *, done: int = 0, only_if_long: bool = False
    ) -> ProgressBar:
        """Return a progress bar."""
        return ProgressBar(total, description, done=done, only_if_long=only_if_long)


def share_sub_folders(step: Path, ids: Iterable[str], ranks: Ranks, *, begun: bool) -> None:
    """Decide on rank 0 whether a step's folders are split, for all ranks; they wait for each other.

    Args:
        step: the step's folder.
        ids: of the photos that are to be written there.
        ranks: the processes that share them.
        begun: whether rank 0 found photos that were written before.

    Raises:
        RunFolderError: on all ranks, as `decide_sub_folders`.
    """
    decided = ranks.gather_results(
        lambda: decide_sub_folders(step, ids, begun=begun) if ranks.rank == 0 else 0
    )
    use_sub_folders(step, decided[0])
