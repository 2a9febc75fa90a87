"""The processes that a launcher has started meet before they are connected.

Connecting waits for every process. One that fails before, for example because its node lacks a
file, would leave the others waiting. So each writes down that it is there, or that it has failed,
in the key-value store (torch's ``TCPStore``) of the first node. Torch is imported only where
processes meet.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tag2mask.errors import NodesError, first_few
from tag2mask.runtime.launcher import BEGUN, Launch, find_launch
from tag2mask.runtime.peers import Member

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

PATIENCE_SECONDS = 60.0
"""How long a process waits for the others, at least."""
SLOWEST = 5.0
"""How many times as long as this process the others may take until they are there: a shared disk
that is slow for one is slow for all."""
LONGEST_SECONDS = 600.0
"""But never longer: this process may have worked before."""
NOTE_SECONDS = 10.0
"""Time after which the processes that are missing are printed."""
TELL_SECONDS = 10.0
"""How long a process that fails tries to tell the others."""
_ATTEMPT_SECONDS = 5.0
_POLL_SECONDS = 0.1

_over = False
"""Whether this process has met the others, or knows that it won't."""


@dataclass(frozen=True)
class MeetingPlace:
    """Where the processes meet.

    Attributes:
        launch: what was started.
        address: of the first node.
        port: of the launcher there.
    """

    launch: Launch
    address: str
    port: int

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self.launch.nodes * self.launch.processes

    def store(self, seconds: float) -> TCPStore:
        """Return the store; the first process opens it where the launcher has none.

        Raises:
            torch.distributed.DistError: nothing answers in time.
        """
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        launcher_has_one = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return TCPStore(
            self.address,
            self.port,
            self.world_size,
            is_master=self.launch.rank == 0 and not launcher_has_one,
            timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
            multi_tenant=True,  # torch opens the same one again when it connects
        )


class _Book:
    """What is written in the store about this attempt of the launcher."""

    def __init__(self, store: TCPStore) -> None:
        self.store = store
        self._prefix = f"tag2mask/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"

    def key(self, name: object) -> str:
        return f"{self._prefix}/{name}"

    def arrive(self, rank: int) -> None:
        self.store.set(self.key(rank), "")
        self.store.add(self.key("here"), 1)

    def count(self) -> int:
        return int(self.store.add(self.key("here"), 0))

    def missing(self, world_size: int) -> list[int]:
        return [rank for rank in range(world_size) if not self.store.check([self.key(rank)])]

    def fail(self, text: str) -> None:
        """Write down why the processes won't meet; the first reason stays."""
        self.store.compare_set(self.key("failed"), "", text)

    def failure(self) -> str | None:
        """Return why they won't; None: they may."""
        if not self.store.check([self.key("failed")]):
            return None
        text = str(self.store.get(self.key("failed")).decode())
        with suppress(RuntimeError):  # the host may end once the last one has read it
            self.store.add(self.key("read"), 1)
        return text

    def readers(self) -> int:
        return int(self.store.add(self.key("read"), 0))


def patience() -> float:
    """Return how long this process waits for the others, s."""
    slow = min(LONGEST_SECONDS, SLOWEST * (time.monotonic() - BEGUN))
    return max(PATIENCE_SECONDS, slow)


def meet(place: MeetingPlace) -> TCPStore:
    """Wait until all processes are there.

    Returns:
        The store, to be kept until they are connected: the first process may be its host.

    Raises:
        NodesError: one of them has failed, or is not there in time.
        torch.distributed.DistError: the first node can't be reached.
    """
    global _over
    from torch.distributed import DistError

    waiting = _Waiting(place.launch)
    try:
        store = _reach(place, waiting)
        try:
            _wait_for_all(_Book(store), place.launch.rank, place.world_size, waiting)
        except DistError:
            raise _not_met("the first node ended before all processes were there") from None
    except Exception:
        _over = True
        raise
    _over = True
    return store


class _Waiting:
    """How long a process has waited; who is missing is printed once by each node."""

    def __init__(self, launch: Launch) -> None:
        self.seconds = patience()
        self._begun = time.monotonic()
        self._silent = launch.rank % launch.processes > 0

    def is_over(self) -> bool:
        return self._waited() > self.seconds

    def note(self, missing: Callable[[], list[int]]) -> None:
        if not self._silent and self._waited() > NOTE_SECONDS:
            self._silent = True
            text = f"waiting for {_names(missing())}, {self.seconds:.0f} s at most"
            print(text, file=sys.stderr, flush=True)

    def _waited(self) -> float:
        return time.monotonic() - self._begun


def _reach(place: MeetingPlace, waiting: _Waiting) -> TCPStore:
    """Return the store once the first node has opened it."""
    from torch.distributed import DistError

    while True:
        try:
            return place.store(_ATTEMPT_SECONDS)
        except DistError:
            if place.launch.rank == 0:
                raise
            waiting.note(lambda: [0])
            if waiting.is_over():
                raise


def _wait_for_all(book: _Book, rank: int, world_size: int, waiting: _Waiting) -> None:
    book.arrive(rank)
    while book.count() < world_size:
        waiting.note(lambda: book.missing(world_size))
        if waiting.is_over():
            missing = _names(book.missing(world_size))
            book.fail(f"{missing} did not start this command within {waiting.seconds:.0f} s")
        text = book.failure()
        if text is not None:
            raise _not_met(text)
        time.sleep(_POLL_SECONDS)


def _not_met(text: str) -> NodesError:
    return NodesError(
        text, fix="See what was printed there; run the same command again on every node."
    )


def _names(ranks: Iterable[int]) -> str:
    return first_few(f"rank {rank}" for rank in ranks)


def report_early_end() -> None:
    """Tell the processes that wait for this one that it has failed, if they do.

    The end of a process on the first node may take the store along, so it waits until the others
    have read it.
    """
    global _over
    if _over:
        return
    _over = True
    with suppress(NodesError):
        launch = find_launch()
        if launch is not None and launch.nodes * launch.processes > 1:
            with suppress(Exception):  # the message of this process counts, which was printed
                _tell(launch)


def _tell(launch: Launch) -> None:
    from tag2mask.runtime.processes import meeting_place

    deadline = time.monotonic() + TELL_SECONDS
    place = meeting_place(launch)
    book = _Book(place.store(TELL_SECONDS))
    book.fail(f"{Member.of_this_process(launch.rank)} stopped before all were connected")
    book.failure()
    while (
        launch.rank < launch.processes
        and book.readers() < place.world_size
        and time.monotonic() < deadline
    ):
        time.sleep(_POLL_SECONDS)
