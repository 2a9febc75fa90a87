"""Devices, seeds, precision and checkpoints."""

from __future__ import annotations

import errno
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from small_runs import environment
from tag2mask.errors import DataError, DeviceError, RunFolderError, WeightsError
from tag2mask.runtime import precision as precision_module
from tag2mask.runtime.memory import explain_out_of_memory
from tag2mask.runtime.precision import resolve_precision
from tag2mask.runtime.session import Runtime, share_of_threads
from tag2mask.training.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.start(device="cpu", workers=0, threads=1)


def test_one_process(runtime: Runtime) -> None:
    assert (runtime.rank, runtime.world_size, runtime.device) == (0, 1, CPU)
    assert runtime.shard([1, 2, 3]) == [1, 2, 3]
    assert runtime.all_gather_object("a") == ["a"]
    assert torch.equal(runtime.sum_over_ranks(torch.ones(2)), torch.ones(2))
    assert torch.get_num_threads() == 1
    runtime.barrier()


def test_setup_wraps_the_same_weights(runtime: Runtime) -> None:
    module = nn.Linear(2, 1)
    wrapped, _ = runtime.setup(module, torch.optim.SGD(module.parameters(), lr=0.1))
    loss = wrapped(torch.ones(1, 2)).sum()
    with runtime.gradients_kept_local(wrapped, enabled=True):
        runtime.backward(loss)
    assert module.weight.grad is not None and torch.equal(module.weight.grad, torch.ones(1, 2))


def draws() -> tuple[Any, ...]:
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


def test_seeded_fixes_every_generator(runtime: Runtime) -> None:
    drawn = []
    for seed in (7, 7, 8):
        with runtime.seeded(seed):
            drawn.append(draws())
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_seeded_restores_generators_and_settings(runtime: Runtime) -> None:
    def modes() -> tuple[bool, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    def seed_all() -> None:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)

    seed_all()
    wanted, before = draws(), modes()
    seed_all()
    with pytest.raises(KeyError), runtime.seeded(7):
        assert modes() == (True, False, False)
        draws()
        raise KeyError
    assert modes() == before
    assert draws() == wanted
    torch.use_deterministic_algorithms(True)
    try:
        with runtime.seeded(7):
            assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("device", "module"), [("cuda", torch.cuda), ("mps", torch.backends.mps)])
def test_absent_device(monkeypatch: pytest.MonkeyPatch, device: str, module: object) -> None:
    monkeypatch.setattr(module, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=rf"no {device} device.*runtime\.device=cpu"):
        Runtime.start(device=device)  # type: ignore[arg-type]


def test_fewer_gpus_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"4 GPUs asked for, 2 found.*Lower runtime\.devices"):
        Runtime.start(device="cuda", devices=4)


def test_auto_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Runtime.start(device="auto", workers=0, threads=1).device == CPU


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("32", CPU) is torch.float32
    assert resolve_precision("bf16", CPU) is torch.bfloat16
    assert resolve_precision("16", CPU) is torch.float16
    for native, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision_module, "cpu_has_bf16", lambda native=native: native)
        assert resolve_precision("auto", CPU) is wanted


def test_autocast_computes_in_the_precision(runtime: Runtime) -> None:
    left = torch.ones(2, 2)
    with runtime.autocast("bf16"):
        assert (left @ left).dtype is torch.bfloat16
    with runtime.autocast("32"):
        assert (left @ left).dtype is torch.float32


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    state = {"model": {"weight": torch.randn(3)}, "step": 4}
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded["step"] == 4
    assert torch.equal(loaded["model"]["weight"], state["model"]["weight"])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with monkeypatch.context() as patch:
        full = os.open("/dev/full", os.O_RDWR)
        patch.setattr(Path, "open", lambda _, mode: os.fdopen(full, mode))
        with pytest.raises(RunFolderError, match="disk is full"):
            save_checkpoint(path, {"weights": torch.zeros(100_000)})
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


class _FullDisk(io.BytesIO):
    """A file that accepts ``room`` bytes, and closes without an error as real ones do."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("room", [0, 100, 5_000, 300_000])
def test_a_disk_that_fills_meanwhile_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda _path, _mode: _FullDisk(room))
        with pytest.raises(RunFolderError, match="disk is full"):
            save_checkpoint(path, {"weights": torch.zeros(100_000)})
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint" * 9])
def test_damaged_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"can't be read.*checkpoint\.pt.*Delete it"):
        load_checkpoint(path)


def test_out_of_memory_names_the_settings() -> None:
    with (
        pytest.raises(DeviceError, match=r"ran out of memory\. Lower a or b\."),
        explain_out_of_memory("a", "b"),
    ):
        raise torch.OutOfMemoryError
    for error in (KeyError("a"), RuntimeError("shapes don't match")):
        with pytest.raises(type(error), match=str(error.args[0])), explain_out_of_memory("a"):
            raise error


class _TwoRanks(Runtime):
    """Rank 0 of two, with a given value from the other one."""

    other: Any = None

    def all_gather_object(self, value: Any) -> list[Any]:
        return [value, pickle.loads(pickle.dumps(self.other))]


@pytest.mark.parametrize("error", [DataError("no photo"), OSError(5, "Input/output error")])
def test_an_error_on_one_rank_is_raised_on_all(runtime: Runtime, error: Exception) -> None:
    ranks = _TwoRanks(runtime.fabric, 0)
    done: list[int] = []
    with pytest.raises(type(error), match=str(error.args[-1])):  # the other rank's
        object.__setattr__(ranks, "other", (error, None))
        ranks.gather_results(lambda: done.append(1))
    assert done  # this rank did its share first

    def fail() -> int:
        raise error

    object.__setattr__(ranks, "other", (None, 7))
    with pytest.raises(type(error), match=str(error.args[-1])):  # this rank's
        ranks.gather_results(fail)
    assert ranks.gather_results(lambda: 3) == [3, 7]


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


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no list of threads")
@pytest.mark.parametrize(("how", "code"), [("well", 0), ("together", 3)])
def test_no_thread_of_the_process_group_outlives_it(how: str, code: int) -> None:
    # One that does now and then aborts the whole process while Python ends.
    done = two_ranks(how)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == ["left:", "left:"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["rank 0 fails", "rank 1 fails", "rank 1 fails with a sum under way"]
)
def test_a_rank_that_fails_leaves_none_waiting(how: str) -> None:
    assert two_ranks(how).returncode != 0


def two_ranks(how: str) -> subprocess.CompletedProcess[str]:
    """Run `two_ranks.py` until both processes have ended."""
    return subprocess.run(
        [sys.executable, Path(__file__).with_name("two_ranks.py"), how],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(),
    )


def test_a_share_of_the_threads_applies_in_a_new_thread() -> None:
    """A new torch thread uses the number of threads that any other thread set last."""
    before, inside, changed = torch.get_num_threads(), threading.Event(), threading.Event()
    found: list[int] = []

    def caller() -> None:
        with share_of_threads(4, 2):
            inside.set()
            changed.wait(10)
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    try:
        thread = threading.Thread(target=caller)
        thread.start()
        inside.wait(10)
        torch.set_num_threads(3)
        changed.set()
        thread.join()
        assert found == [2, 4]
    finally:
        torch.set_num_threads(before)


def test_an_interrupt_while_a_checkpoint_is_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 1})

    def interrupted(*_: Any) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 6629568 vs 6629456")  # as torch's writer does

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path / "checkpoint.pt", {"step": 2})
    assert load_checkpoint(tmp_path / "checkpoint.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
