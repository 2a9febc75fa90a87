"""The device a run computes on, and the end of a group of processes."""

from __future__ import annotations

import atexit
import gc
import threading

import torch

from tag2mask.errors import DeviceError

LEAVE_SECONDS = 10.0
"""How long the end of a process group may take; normally it takes no time."""


def pick_device(device: str, devices: int = 1) -> str:
    """Return the kind of device to use: ``auto`` is CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: no such device, or fewer than asked for.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        device = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[device]:
        raise DeviceError(
            f"no {device} device on this machine",
            where="runtime.device",
            fix="Use --set runtime.device=cpu, or auto.",
        )
    if device == "cuda" and devices > torch.cuda.device_count():
        raise DeviceError(
            f"{devices} GPUs asked for, {torch.cuda.device_count()} found",
            where="runtime.devices",
            fix="Lower runtime.devices.",
        )
    return device


def leave_group_at_exit() -> None:
    """End the process group, and with it gloo's threads, while Python still runs.

    A gloo thread that releases a collective's tensor requests Python's lock. While Python shuts
    down, the thread is ended there instead, through C++ code that doesn't allow it, and the process
    aborts ("terminate called without an active exception"). Fabric ends only NCCL groups.

    Ending the group waits for running collectives, so it has its own thread: a rank that failed
    during one doesn't wait for the others. The thread starts now, since Python 3.12 allows no new
    thread later.
    """
    at_exit = threading.Event()

    def leave() -> None:
        at_exit.wait()
        if torch.distributed.is_initialized():
            gc.collect()  # a network wrapped for several ranks would keep the group
            torch.distributed.destroy_process_group()

    def end() -> None:
        at_exit.set()
        leaving.join(LEAVE_SECONDS)

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    atexit.register(end)
