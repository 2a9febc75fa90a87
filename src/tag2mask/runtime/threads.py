"""Work on many photos in a few threads, in order and in bounded memory.

Reading files, decompression, interpolation and NumPy's larger operations release Python's global
lock, so threads suffice and nothing is copied between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import TypeVar

MAX_THREADS = 8
"""Limit of threads: results of large photos take hundreds of MB each, on any machine."""

SMALL_PIXELS = 1_000_000
"""Photos with more pixels are processed one at a time, see `sized_map`."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int | None = None,
    *,
    block: int = 1,
    stopped: Event | None = None,
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` of each item in order, computed ahead in other threads.

    At most ``2 * threads * block`` results are held. The first exception is raised in the order of
    the items; work that hasn't begun is then canceled.

    Args:
        function: safe to call from several threads at once.
        items: consumed as results are taken.
        threads: number of threads; None: one per processor that this process may use, at most
            ``MAX_THREADS``.
        block: items that a thread takes at once; use more where an item takes microseconds.
        stopped: set when no further result is taken; a function that waits for long may look at it.
    """

    def work(part: list[Item]) -> list[Result]:
        return [function(item) for item in part]

    threads = threads or min(processors(), MAX_THREADS)
    rest = iter(items)
    pending: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while part := list(islice(rest, block)):
            pending.append(pool.submit(work, part))
            if len(pending) >= 2 * threads:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        if stopped is not None:
            stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


def sized_map(
    function: Callable[[Item, int], Result], items: Iterable[Item], pixels: Callable[[Item], int]
) -> Iterator[Result]:
    """Yield ``function(item, threads)`` of each item, the small ones in order, then the large.

    Small photos are processed side by side with one thread each, large ones one at a time with all
    threads, since a dense CRF takes hundreds of bytes per pixel.

    Args:
        function: safe to call from several threads at once.
        items: all are consumed before the first result.
        pixels: returns the number of pixels of an item.
    """
    small: list[Item] = []
    large: list[Item] = []
    for item in items:
        (small if pixels(item) <= SMALL_PIXELS else large).append(item)
    yield from ordered_map(lambda item: function(item, 1), small)
    for item in large:
        yield function(item, min(processors(), MAX_THREADS))


def grouped(
    items: Iterable[Item], key: Callable[[Item], Hashable], most: int, ahead: int
) -> Iterator[list[Item]]:
    """Group items with equal keys from a mixed sequence.

    Args:
        items: consumed as groups are taken.
        key: equal for items of one group.
        most: size of a full group, which is yielded at once.
        ahead: number of items that may wait; beyond it the oldest group is yielded incomplete.
    """
    waiting: dict[Hashable, list[Item]] = {}
    count = 0
    for item in items:
        name = key(item)
        waiting.setdefault(name, []).append(item)
        count += 1
        full = name if len(waiting[name]) == most else None
        if full is None and count > ahead:
            full = next(iter(waiting))
        if full is not None:
            group = waiting.pop(full)
            count -= len(group)
            yield group
    yield from waiting.values()


def omp_threads() -> int:
    """Return the number of threads in ``OMP_NUM_THREADS``; 0 where it isn't set."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else 0


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
