"""Running out of memory: the message names the settings to lower."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from tag2mask.errors import DeviceError
from tag2mask.runtime.memory import explain_out_of_memory


def test_out_of_memory_names_the_settings() -> None:
    with (
        pytest.raises(DeviceError, match=r"ran out of memory\. Lower a or b\."),
        explain_out_of_memory("a", "b"),
    ):
        raise torch.OutOfMemoryError
    with (
        pytest.raises(DeviceError, match=r"memory\. Lower a or b, or set c\.d=true\."),
        explain_out_of_memory("a", "b", switch="c.d"),
    ):
        raise torch.OutOfMemoryError
    for error in (KeyError("a"), RuntimeError("shapes don't match")):
        with pytest.raises(type(error), match=str(error.args[0])), explain_out_of_memory("a"):
            raise error


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)",
        "MPS backend out of memory (MPS allocated: 9.0 GB)",
    ],
)
def test_out_of_memory_is_recognized_on_every_device(message: str) -> None:
    with (
        pytest.raises(DeviceError, match=r"ran out of memory\. Lower a\."),
        explain_out_of_memory("a"),
    ):
        raise RuntimeError(message)


def test_out_of_memory_on_this_machine() -> None:
    with (
        pytest.raises(DeviceError, match=r"machine ran out of memory\. Lower a\."),
        explain_out_of_memory("a"),
    ):
        torch.empty(2**60, dtype=torch.uint8)


class _Dying(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_dead_data_loading_process_is_explained() -> None:
    loader = torch.utils.data.DataLoader(_Dying(), num_workers=1)
    with (
        pytest.raises(DeviceError, match=r"died.*runtime\.workers=0.*--shm-size.*lower a"),
        explain_out_of_memory("a"),
    ):
        list(loader)
