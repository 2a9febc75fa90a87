"""The processes of a run, started here on one machine or by a launcher on several."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from tag2mask.errors import NodesError, first_line
from tag2mask.runtime.launcher import Launch
from tag2mask.runtime.meeting import MeetingPlace, meet

_PATIENCE = timedelta(days=30)
"""The first process may list millions of photos while the others wait."""


def started_processes(launch: Launch | None, devices: int) -> tuple[int, int]:
    """Return the number of processes per node and of nodes.

    Raises:
        NodesError: the launcher started other processes than the settings ask for.
    """
    if launch is None:
        return devices, 1
    if devices not in (1, launch.processes):
        raise NodesError(
            f"{launch.by} has started {launch.processes} processes per node, not {devices}",
            where="runtime.devices",
            fix="Leave runtime.devices out: the launcher decides.",
        )
    return launch.processes, launch.nodes


def cluster_environment(launch: Launch | None) -> ClusterEnvironment:
    """Return Lightning Fabric's view of the launcher."""
    if launch is None:
        return LightningEnvironment()
    return TorchElasticEnvironment() if launch.by == "torchrun" else SLURMEnvironment()


def meeting_place(launch: Launch) -> MeetingPlace:
    """Return where the processes of a launcher meet."""
    environment = cluster_environment(launch)
    return MeetingPlace(launch, environment.main_address, environment.main_port)


def launch_processes(fabric: Fabric, launch: Launch | None) -> None:
    """Start the processes, or connect those of a launcher.

    Raises:
        NodesError: they can't be connected, or one of them failed before.
    """
    store = None
    connected = torch.distributed.is_initialized()
    try:
        if launch is not None and launch.nodes * launch.processes > 1 and not connected:
            store = meet(meeting_place(launch))
        fabric.launch()
        del store  # the first process may have been its host until here
    except torch.distributed.DistError as error:
        place = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise NodesError(
            f"the processes of this run could not be connected: {first_line(error)}",
            where=place,
            fix="Check that every node was started, that this is the address of the first one, and "
            "that its port is free and open for the others.",
        ) from None


def wait_without_limit() -> None:
    """Let collective operations wait as long as they must; `peers` notices who dies."""
    if hasattr(torch.distributed, "set_timeout"):
        torch.distributed.set_timeout(_PATIENCE)
    else:  # older versions of torch
        torch.distributed.distributed_c10d._set_pg_timeout(_PATIENCE)
