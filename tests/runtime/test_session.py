"""Devices, seeds, precision and ranks."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from small_runs import environment
from tag2mask.errors import DataError, DeviceError
from tag2mask.runtime import precision as precision_module
from tag2mask.runtime.precision import resolve_precision
from tag2mask.runtime.session import Runtime

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


def test_ranks_share_all_items_and_each_item_is_done_once() -> None:
    shares = [
        Runtime(SimpleNamespace(global_rank=rank, world_size=3), 0).shard(range(7))  # type: ignore[arg-type]
        for rank in range(3)
    ]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


def test_setup_wraps_the_same_weights(runtime: Runtime) -> None:
    module = nn.Linear(2, 1)
    wrapped, _ = runtime.setup(module, torch.optim.SGD(module.parameters(), lr=0.1))
    loss = wrapped(torch.ones(1, 2)).sum()
    with runtime.gradients_kept_local(wrapped, enabled=True):
        runtime.backward(loss)
    assert module.weight.grad is not None and torch.equal(module.weight.grad, torch.ones(1, 2))


def test_a_note_changes_nothing_on_a_terminal(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.note("train-cam: \x9b2J\u202ecat: 2 of 3 heads")
    assert capsys.readouterr().err == "train-cam: \\x9b2J\\u202ecat: 2 of 3 heads\n"


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


def test_on_a_cpu_no_processes_read_photos_unless_asked_for() -> None:
    assert Runtime.start(device="cpu", threads=1).workers == 0
    assert Runtime.start(device="cpu", threads=1, workers=3).workers == 3


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
