"""CPU threads of torch, for a process that needs no Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tag2mask.runtime.threads import processors


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
