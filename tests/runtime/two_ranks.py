"""Two processes on the CPU (gloo) that end in one of several ways: ``python two_ranks.py HOW``.

Each prints the threads of its process group that are left when Python ends.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from tag2mask.errors import DataError
from tag2mask.runtime.session import Runtime


def threads_left() -> None:
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    line = " ".join(["left:", *(name for name in names if "gloo" in name)])
    # In one piece: unbuffered, print writes the line's end apart, and the other process between.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def train(runtime: Runtime) -> None:
    """A few steps as training makes them; the wrapped network ends up in a reference cycle."""
    net = torch.nn.Linear(4, 2)
    wrapped, optimizer = runtime.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    optimizer.wrapped, wrapped.optimizer = wrapped, optimizer
    for batch in DataLoader(torch.ones(6, 4), batch_size=2, num_workers=1):
        runtime.all_gather_object((runtime.rank, "no photo is missing"))
        runtime.backward(wrapped(batch).sum())
        optimizer.step()


def fail() -> None:
    raise DataError("no photo")


def main(how: str) -> None:
    atexit.register(threads_left)  # before the runtime's own, so that it comes after it
    runtime = Runtime.start(device="cpu", devices=2, workers=1, threads=1)
    train(runtime)
    if how == "together":
        try:
            runtime.gather_results(fail)
        except DataError:
            sys.exit(3)
    if how == f"rank {runtime.rank} fails":
        raise KeyError
    if how == f"rank {runtime.rank} fails with a sum under way":
        torch.distributed.all_reduce(torch.ones(3), async_op=True)
        raise KeyError
    if "under way" in how:
        time.sleep(2)
    elif "fails" in how:
        runtime.barrier()
    runtime.all_gather_object("a tensor in flight at the end")


if __name__ == "__main__":
    main(sys.argv[1])
