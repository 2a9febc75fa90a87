"""Where a step runs: devices, precision, seeds, ranks and checkpoints.

The only importer of Lightning Fabric. The training loops stay visible elsewhere; this module hides
which device and how many processes.
"""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from tag2mask.errors import Tag2MaskError
from tag2mask.runtime.devices import leave_group_at_exit, pick_device
from tag2mask.runtime.precision import Precision, resolve_precision
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import processors

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """Devices and ranks of a run. Create it with `Runtime.start`."""

    fabric: Fabric
    workers: int

    @classmethod
    def start(
        cls,
        *,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        devices: int = 1,
        workers: int = 2,
        threads: int = 0,
    ) -> Runtime:
        """Claim the devices and, for several, start the other processes.

        On CUDA it sets the environment variable ``CUBLAS_WORKSPACE_CONFIG`` where it isn't set.

        Args:
            device: kind of device; auto: CUDA, else MPS, else the CPU.
            devices: how many; more than one trains with DDP.
            workers: processes that read photos.
            threads: CPU threads of the network; 0: what ``OMP_NUM_THREADS`` says, else one a core,
                shared among the ranks.

        Raises:
            DeviceError: no such device, or fewer than asked for.
        """
        kind = pick_device(device, devices)
        if not threads and "OMP_NUM_THREADS" in os.environ:
            threads = torch.get_num_threads()
        if kind == "cuda":  # for repeatable matrix products; cuBLAS reads it at the first one
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fabric = Fabric(
                accelerator=kind,
                devices=devices,
                precision="32-true",
                # One forward call per step serves both branches; frozen buffers need no broadcast.
                strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=True)
                if devices > 1
                else "auto",
            )
            fabric.launch()
        if devices > 1:
            leave_group_at_exit()
        # After the launch, which sets a number of its own.
        torch.set_num_threads(threads or max(1, processors() // (devices if kind == "cpu" else 1)))
        return cls(fabric, workers)

    @property
    def device(self) -> torch.device:
        """This rank's device."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """This process's number, 0 .. world_size - 1."""
        return int(self.fabric.global_rank)

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return int(self.fabric.world_size)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Seed Python, NumPy and torch, and ask torch for repeatable algorithms, inside a block.

        After it all is as before: what a user's own program draws and how it computes.
        """
        torch_state = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark,
        )
        python_state, numpy_state = random.getstate(), np.random.get_state()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            try:
                random.seed(seed)
                np.random.seed(seed % 2**32)
                torch.manual_seed(seed)
                # Not filled before they are written: nothing here reads a tensor that isn't.
                _repeatable(True, True, False, False)
                yield
            finally:
                _repeatable(*torch_state)
                random.setstate(python_state)
                np.random.set_state(numpy_state)

    def shard(self, items: Sequence[T]) -> list[T]:
        """This rank's share of the items: every world_size-th one."""
        return list(items[self.rank :: self.world_size])

    def barrier(self) -> None:
        """Wait for every rank."""
        self.fabric.barrier()

    def all_gather_object(self, value: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(gathered, value)
        return cast(list[T], gathered)

    def gather_results(self, work: Callable[[], T]) -> list[T]:
        """Every rank's result, by rank; an error of one becomes one of all.

        It is raised once all have done their share, so that none is left waiting.

        Args:
            work: this rank's share, without any wait for other ranks in it.

        Raises:
            Tag2MaskError: of the first rank that failed.
            OSError: likewise.
        """
        result: T | None = None
        failure: Tag2MaskError | OSError | None = None
        try:
            result = work()
        except (Tag2MaskError, OSError) as error:
            failure = error
        shares = self.all_gather_object((failure, result))
        for failed, _ in shares:
            if failed is not None:
                raise failed
        return [cast(T, result) for _, result in shares]

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """Sum of a tensor over the ranks (no gradient)."""
        if self.world_size == 1:
            return value
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    def share_buffers(self, module: nn.Module) -> None:
        """Give every rank the buffers of rank 0: batch norms that learn see their own photos."""
        if self.world_size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def setup(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Move a module to the device and wrap it for several ranks."""
        with warnings.catch_warnings():
            # Its successor is not in every version of torch that we take.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            wrapped, wrapped_optimizer = self.fabric.setup(module, optimizer)
        return wrapped, wrapped_optimizer

    def backward(self, loss: Tensor) -> None:
        """Backward pass of a loss; several ranks average their gradients."""
        self.fabric.backward(loss)

    def gradients_kept_local(
        self, module: nn.Module, *, enabled: bool
    ) -> AbstractContextManager[Any]:
        """Backward passes in this context don't average gradients over the ranks.

        Args:
            module: as `setup` returned it.
            enabled: False: a context that does nothing.
        """
        if not enabled or self.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(cast(_FabricModule, module))

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """Mixed precision for the forward pass; see `resolve_precision` for auto."""
        dtype = resolve_precision(precision, self.device)
        if dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    @contextmanager
    def progress(self, total: int, description: str, *, done: int = 0) -> Iterator[ProgressBar]:
        """A progress bar on rank 0: rich on a terminal, plain lines elsewhere."""
        bar = ProgressBar(total, description, done=done, silent=self.rank != 0)
        with bar:
            yield bar


@contextmanager
def share_of_threads(threads: int, callers: int) -> Iterator[None]:
    """Compute with one caller's share of the CPU threads.

    Args:
        threads: of torch, as the thread that starts the callers finds them.
        callers: threads that compute at once.
    """
    if callers == 1:
        yield
        return
    # A thread that torch has not met takes, when it first computes, what any thread set last.
    torch.get_num_threads()
    # Holds for the calling thread; for threads begun meanwhile too, hence it is undone.
    torch.set_num_threads(max(1, threads // callers))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _repeatable(deterministic: bool, warn_only: bool, fill: bool, benchmark: bool) -> None:
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = benchmark
