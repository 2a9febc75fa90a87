"""Errors that name the settings to lower when the memory is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tag2mask.errors import DeviceError


@contextmanager
def explain_out_of_memory(*settings: str, switch: str | None = None) -> Iterator[None]:
    """Name the settings to lower when the device or the machine runs out of memory.

    Torch has a separate error for GPUs only. On the CPU, and where a data loading process dies
    (killed for its memory use, or shared memory is full), only the message tells.

    Args:
        settings: recipe keys to lower.
        switch: recipe key that takes less memory as ``true``; None: there is none.

    Raises:
        DeviceError: instead of torch's error.
    """
    lower = f"Lower {' or '.join(settings)}" + (f", or set {switch}=true." if switch else ".")
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError("the GPU ran out of memory", fix=lower) from error
    except MemoryError as error:
        raise DeviceError("the machine ran out of memory", fix=lower) from error
    except RuntimeError as error:
        message = str(error)
        if "DefaultCPUAllocator" in message:
            raise DeviceError("the machine ran out of memory", fix=lower) from error
        if "out of memory" in message or "ALLOC_FAILED" in message:  # MPS; CUDA's libraries
            raise DeviceError("the device ran out of memory", fix=lower) from error
        if "DataLoader worker" in message:
            raise DeviceError(
                "a process that reads photos died; the memory or the shared memory may be full",
                fix="Set runtime.workers=0, give a container more shared memory (docker run "
                f"--shm-size=2g), or l{lower[1:]}",
            ) from error
        raise
