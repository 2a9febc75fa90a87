"""CPU threads of torch, for a process that needs no Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from tag2mask.runtime.threads import MAX_THREADS, ordered_map, processors

Item = TypeVar("Item")
Result = TypeVar("Result")


def set_up_torch(threads: int) -> None:
    """Set torch's CPU threads, and repeatable matrix products on CUDA, for this process alone.

    It does what `Runtime.start` does for one device, without Lightning Fabric, whose import takes
    seconds.

    Args:
        threads: 0: ``OMP_NUM_THREADS``, else one per core.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS alone reads it
    if threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads or processors())


@contextmanager
def share_of_threads(threads: int, callers: int) -> Iterator[None]:
    """Compute with one calling thread's share of torch's CPU threads.

    Args:
        threads: number of torch's threads.
        callers: number of threads that compute at the same time.
    """
    if callers == 1:
        yield
        return
    # A new thread takes, when it first computes, the number that any thread set last.
    torch.get_num_threads()
    # This also applies to threads that start meanwhile, so it is undone.
    torch.set_num_threads(max(1, threads // callers))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def small_first_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    is_small: Callable[[Item], bool],
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with ``function(item)``: the small ones in order, then the large ones.

    Each thread computes one small item, as several threads in one small convolution mostly wait for
    each other. Large items are computed one at a time with all threads, which bounds the memory.

    Args:
        function: computes with torch; safe to call from several threads at once.
        items: photos, or what stands for them.
        is_small: whether an item may be computed beside others.
    """
    small = [item for item in items if is_small(item)]
    threads = torch.get_num_threads()
    workers = max(1, min(threads, MAX_THREADS, len(small)))

    def one(item: Item) -> tuple[Item, Result]:
        with share_of_threads(threads, workers):
            return item, function(item)

    yield from ordered_map(one, small, workers)
    for item in items:
        if not is_small(item):
            yield item, function(item)
