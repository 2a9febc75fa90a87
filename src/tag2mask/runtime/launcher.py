"""The launcher that started this process: torchrun, SLURM's srun, or none.

Several machines need a launcher, which starts the same command on each of them. How many machines
and processes there are comes from it alone. Without one, `session` starts the processes of this
machine itself. Needs no torch.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Literal

from tag2mask.errors import NodesError

BEGUN = time.monotonic()
"""When this process began, nearly: the command line imports this module before torch."""


@dataclass(frozen=True)
class Launch:
    """What a launcher has started.

    Attributes:
        by: the launcher.
        rank: number of this process over all nodes, 0 .. nodes * processes - 1.
        nodes: number of machines.
        processes: number of processes on each machine.
    """

    by: Literal["torchrun", "srun"]
    rank: int
    nodes: int
    processes: int


def find_launch() -> Launch | None:
    """Return what the launcher has started; None: no launcher, or srun with one task.

    Raises:
        NodesError: the nodes have different numbers of processes, or the variables of the launcher
            are incomplete.
    """
    if _by_torchrun():
        return _launch("torchrun", "RANK", "WORLD_SIZE", _number("LOCAL_WORLD_SIZE"))
    if _by_srun():
        return _srun_launch()
    if "LOCAL_RANK" not in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise NodesError(
            f"{os.environ['WORLD_SIZE']} processes are to work together, but nothing tells this "
            "one how",
            where="WORLD_SIZE",
            fix="Start the command with torchrun, or unset WORLD_SIZE.",
        )
    return None


def is_first_process() -> bool:
    """Return whether this is rank 0, before and after the other ranks are started."""
    if _by_torchrun():
        return os.environ.get("RANK", "0") == "0"
    if _by_srun():
        return os.environ.get("SLURM_PROCID", "0") == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _by_srun() -> bool:
    # As Lightning Fabric: a shell that srun opened is not a job whose tasks work together.
    is_shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return os.environ.get("SLURM_NTASKS", "1") != "1" and not is_shell


def _srun_launch() -> Launch:
    tasks = os.environ["SLURM_NTASKS"]
    if "SLURM_STEP_ID" not in os.environ:
        raise NodesError(
            f"this job has {tasks} tasks, but the command was not started on them",
            where="SLURM_NTASKS",
            fix="Put srun before it: `srun tag2mask run ...`.",
        )
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise NodesError(
            f"{tasks} tasks, and no number of tasks per node",
            where="SLURM_NTASKS_PER_NODE",
            fix="Give --ntasks-per-node to sbatch or srun.",
        )
    return _launch("srun", "SLURM_PROCID", "SLURM_NTASKS", _number("SLURM_NTASKS_PER_NODE"))


def _launch(by: Literal["torchrun", "srun"], rank: str, world: str, processes: int) -> Launch:
    total = _number(world)
    if processes < 1 or total % processes:
        raise NodesError(
            f"{total} processes can't be {processes} on each node",
            where=world,
            fix="Start the same number of processes on every node.",
        )
    return Launch(by, _number(rank), total // processes, processes)


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise NodesError(
            f"the launcher set no number: {text!r}" if text else "the launcher did not set it",
            where=name,
            fix="Start the command with torchrun or srun.",
        )
    return int(text)
