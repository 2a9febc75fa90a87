"""What torchrun and srun started is read from their variables."""

from __future__ import annotations

import os

import pytest

from tag2mask.errors import NodesError
from tag2mask.runtime.launcher import Launch, find_launch, is_first_process

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "2",
}
SRUN = {
    "SLURM_JOB_ID": "4242",
    "SLURM_JOB_NAME": "masks",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "6",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "3",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in TORCHRUN or name.startswith("SLURM_"):
            monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_launch() is None
    assert is_first_process()
    set_all(monkeypatch, {"LOCAL_RANK": "1", "WORLD_SIZE": "2"})  # started by Lightning Fabric
    assert find_launch() is None
    assert not is_first_process()


def test_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TORCHRUN)
    assert find_launch() == Launch("torchrun", rank=5, nodes=4, processes=2)
    assert not is_first_process()
    # Rank 0 of a node is not that of the run.
    set_all(monkeypatch, {"RANK": "2", "LOCAL_RANK": "0"})
    assert not is_first_process()
    monkeypatch.setenv("RANK", "0")
    assert is_first_process()


def test_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SRUN)
    assert find_launch() == Launch("srun", rank=0, nodes=3, processes=2)
    assert is_first_process()
    monkeypatch.setenv("SLURM_PROCID", "4")
    assert not is_first_process()


@pytest.mark.parametrize(
    "changes",
    [{"SLURM_NTASKS": "1"}, {"SLURM_JOB_NAME": "bash"}, {"SLURM_JOB_NAME": "interactive"}],
)
def test_one_task_or_a_shell_is_no_launcher(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    set_all(monkeypatch, SRUN | changes)
    assert find_launch() is None


def test_torchrun_within_srun_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SRUN | TORCHRUN)
    launch = find_launch()
    assert launch is not None and launch.by == "torchrun"


@pytest.mark.parametrize(
    ("values", "lacks", "message"),
    [
        (SRUN, "SLURM_STEP_ID", "6 tasks, but the command was not started on them.*srun tag2mask"),
        (SRUN, "SLURM_NTASKS_PER_NODE", "no number of tasks per node.*--ntasks-per-node"),
        (SRUN | {"SLURM_NTASKS_PER_NODE": "4"}, "", "6 processes can't be 4 on each node"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "3"}, "", "8 processes can't be 3 on each node"),
        (TORCHRUN | {"WORLD_SIZE": "many"}, "", r"'many' \[WORLD_SIZE\]"),
        (TORCHRUN, "RANK", r"did not set it \[RANK\]"),
        ({"WORLD_SIZE": "4", "RANK": "1"}, "", "4 processes.*Start the command with torchrun"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], lacks: str, message: str
) -> None:
    set_all(monkeypatch, values)
    if lacks:
        monkeypatch.delenv(lacks)
    with pytest.raises(NodesError, match=message):
        find_launch()
