"""Loops compiled by Numba, and the threads that run them.

Numba compiles a loop when it is first called and caches it next to its source, or in the user's
cache folder where that is read-only, or in ``NUMBA_CACHE_DIR``; a later process loads it. Compiled
loops run without Python's global lock, so plain threads share the work. Numba's own parallel loops
are not used: on many systems they must not be entered by two callers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import pairwise
from types import TracebackType
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")

BLOCK = 256
"""Items that a compiled loop processes at once; parts begin at multiples of it."""


def compiled(function: Function) -> Function:
    """Compile a loop at its first call and cache it for other processes.

    Products and sums may be fused; the order of sums stays as written.
    """
    return _cached(function, {"contract"})


def compiled_reordering(function: Function) -> Function:
    """Compile a loop as `compiled`, but sums may be reordered: vector instructions add several.

    The order depends on the processor; on the same one results are the same.
    """
    return _cached(function, {"contract", "reassoc", "nsz"})


def compiled_exactly(function: Function) -> Function:
    """Compile a loop as `compiled`, with the roundings of NumPy: nothing is fused."""
    return _cached(function, False)


def _cached(function: Function, fastmath: set[str] | bool) -> Function:
    loop: Function = numba.njit(nogil=True, fastmath=fastmath)(function)
    with suppress(RuntimeError):  # no writable folder: compiled in each process
        loop.enable_caching()  # type: ignore[attr-defined]
    return loop


class Team:
    """A few threads that share several pieces of work, one after another.

    Task i of every piece runs in the same thread, i modulo their number. Where the parts are the
    same, what a thread wrote in one piece is still in its processor's cache in the next.

    Args:
        threads: number of threads, including the calling one.
    """

    def __init__(self, threads: int) -> None:
        assert threads >= 1
        self.threads = threads
        self._others = [ThreadPoolExecutor(1) for _ in range(threads - 1)]

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for other in self._others:
            other.shutdown()

    def run(self, tasks: Iterable[Callable[[], Result]]) -> list[Result]:
        """Run the tasks and return their results in order, when all are done."""
        if not self._others:
            return [task() for task in tasks]
        by_place = list(enumerate(tasks))
        futures = {
            place: self._others[place % self.threads - 1].submit(task)
            for place, task in by_place
            if place % self.threads
        }
        try:
            own = {place: task() for place, task in by_place if place not in futures}
        finally:
            wait(futures.values())
        return [
            futures[place].result() if place in futures else own[place] for place, _ in by_place
        ]

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Split 0..count into at most one non-empty range per thread."""
        blocks = -(-count // BLOCK)
        bounds = [min(count, blocks * i // self.threads * BLOCK) for i in range(self.threads + 1)]
        return [(first, last) for first, last in pairwise(bounds) if first < last]
