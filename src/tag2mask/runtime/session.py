"""The runtime of a step: device, ranks, precision and seeds.

Beside ``processes`` the only module that imports Lightning Fabric. Training loops are written out
elsewhere; this module hides which device and how many processes they run on.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from tag2mask.errors import Tag2MaskError
from tag2mask.runtime.agreement import check_same, installed_version
from tag2mask.runtime.devices import leave_group_at_exit, pick_device
from tag2mask.runtime.launcher import find_launch
from tag2mask.runtime.meeting import patience
from tag2mask.runtime.peers import Listener, Member, is_watching, start_watch
from tag2mask.runtime.precision import Precision, autocast
from tag2mask.runtime.processes import (
    cluster_environment,
    launch_processes,
    started_processes,
    wait_without_limit,
)
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import processors
from tag2mask.text.escaping import visible

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """Devices and ranks of a run; created by `Runtime.start`."""

    fabric: Fabric
    workers: int

    @classmethod
    def start(
        cls,
        *,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        devices: int = 1,
        workers: int | None = None,
        threads: int = 0,
    ) -> Runtime:
        """Select the devices and, for several, start the other processes.

        Under torchrun or SLURM's srun the processes are there: they are connected, on any number of
        machines.

        On CUDA this sets the environment variable ``CUBLAS_WORKSPACE_CONFIG`` unless it is set.

        Args:
            device: kind of device; auto: CUDA, else MPS, else the CPU.
            devices: number of devices; more than one trains with DDP. Under a launcher, what it
                has started counts.
            workers: processes that read photos for a training; 0: threads of the training read
                them between two steps; None: 0 on a CPU, whose cores the network needs, else 2.
            threads: CPU threads of the network; 0: ``OMP_NUM_THREADS``, else one per core, shared
                among the ranks.

        Raises:
            DeviceError: no such device, or fewer than asked for.
            NodesError: the processes can't be connected, have different versions of tag2mask or
                torch, or are not as many as ``devices`` asks for.
        """
        launch = find_launch()
        devices, nodes = started_processes(launch, devices)
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
                num_nodes=nodes,
                precision="32-true",
                # One forward call per step serves both branches; frozen buffers need no broadcast.
                strategy=DDPStrategy(
                    timeout=timedelta(seconds=patience()),
                    broadcast_buffers=False,
                    find_unused_parameters=True,
                )
                if devices * nodes > 1
                else "auto",
                plugins=[cluster_environment(launch)],
            )
            launch_processes(fabric, launch)
        runtime = cls(fabric, (0 if kind == "cpu" else 2) if workers is None else workers)
        if runtime.world_size > 1 and not is_watching():
            leave_group_at_exit()
            wait_without_limit()
            runtime._watch_others()
        # After the launch, which sets its own number.
        torch.set_num_threads(threads or max(1, processors() // (devices if kind == "cpu" else 1)))
        return runtime

    def _watch_others(self) -> None:
        """Check that all processes are of one version, and watch them from now on.

        Raises:
            NodesError: they aren't, or can't be connected.
        """
        check_same(self, {"tag2mask": installed_version(), "torch": torch.__version__})
        listener = Listener() if self.rank == 0 else None
        place = None if listener is None else (listener.port, listener.token)
        found = self.all_gather_object((Member.of_this_process(self.rank), place))
        members, first = [member for member, _ in found], found[0][1]
        assert first is not None
        address = os.environ.get("MASTER_ADDR", "127.0.0.1")
        self.gather_results(lambda: start_watch(members, self.rank, listener or (address, *first)))

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

        Afterwards the generators and torch's settings are restored.
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
                # Tensors aren't filled before they are written: nothing here reads them unwritten.
                _repeatable(True, True, False, False)
                yield
            finally:
                _repeatable(*torch_state)
                random.setstate(python_state)
                np.random.set_state(numpy_state)

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this rank's share of the items: every world_size-th one."""
        return list(items[self.rank :: self.world_size])

    def barrier(self) -> None:
        """Wait for every rank."""
        self.fabric.barrier()

    def all_gather_object(self, value: T) -> list[T]:
        """Return every rank's value, by rank."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(gathered, value)
        return cast(list[T], gathered)

    def gather_results(self, work: Callable[[], T]) -> list[T]:
        """Return every rank's result, by rank; an error on one rank is raised on all.

        It is raised once all ranks have finished, so that none is left waiting.

        Args:
            work: this rank's share; it must not wait for other ranks.

        Raises:
            Tag2MaskError: of the first rank that failed.
            OSError: of the first rank that failed.
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
        """Return the sum of a tensor over the ranks, without gradient."""
        if self.world_size == 1:
            return value
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    def share_buffers(self, module: nn.Module) -> None:
        """Copy rank 0's buffers to every rank: each rank's batch norms see their own photos."""
        if self.world_size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def setup(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Move a module to the device and wrap it for several ranks."""
        with warnings.catch_warnings():
            # Its successor is not in every supported version of torch.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            wrapped, wrapped_optimizer = self.fabric.setup(module, optimizer)
        return wrapped, wrapped_optimizer

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss, averaged over the ranks."""
        self.fabric.backward(loss)

    def gradients_kept_local(
        self, module: nn.Module, *, enabled: bool
    ) -> AbstractContextManager[Any]:
        """Return a context whose backward passes don't average gradients over the ranks.

        Args:
            module: as `setup` returned it.
            enabled: False: return a context that does nothing.
        """
        if not enabled or self.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(cast(_FabricModule, module))

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """Return the mixed precision context of the forward pass; see `resolve_precision`."""
        return autocast(precision, self.device)

    def note(self, text: str) -> None:
        """Print a line on rank 0, to stderr, as text that changes nothing on a terminal."""
        if self.rank == 0:
            print(visible(text), file=sys.stderr, flush=True)

    @contextmanager
    def progress(
        self, total: int, description: str, *, done: int = 0, only_if_long: bool = False
    ) -> Iterator[ProgressBar]:
        """Show progress on rank 0: a bar on a terminal, plain lines elsewhere."""
        silent = self.rank != 0
        bar = ProgressBar(total, description, done=done, silent=silent, only_if_long=only_if_long)
        with bar:
            yield bar


def _repeatable(deterministic: bool, warn_only: bool, fill: bool, benchmark: bool) -> None:
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = benchmark
