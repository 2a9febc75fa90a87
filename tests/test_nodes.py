"""Two "nodes" on this machine, started by torchrun or as by srun: one run, and what ends it.

Dropout is off, since each process draws its own; all other random numbers are the same.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tag2mask
from small_runs import call, command, environment, wait_until, write_photos, write_recipe

pytestmark = pytest.mark.slow

SGD = {"name": "sgd", "lr": 0.01}
CHANGES: dict[str, Any] = {
    "train_cam__dropout": 0.0,
    "train_cam__batch_size": 5,
    "train_cam__epochs": 3,
    "train_cam__optimizer": SGD | {"accumulate": 2},
    "train_affinity__optimizer": SGD,
    "train_segmenter__optimizer": SGD,
    "infer_cam__map_dtype": "float16",
}
MINUTE = 60.0
Node = subprocess.Popen[str]


class Cluster:
    """Two machines that are this one; each is a group of processes that can be killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos = write_photos(root / "photos", 15)
        self.recipe = write_recipe(root / "recipe.yaml", **CHANGES)

    def words(self, out: Path, *options: str | Path) -> list[str | Path]:
        return ["run", "--data", self.photos, "--recipe", self.recipe, "--out", out, *options]

    def torchrun(
        self,
        *words: str | Path,
        second: tuple[str | Path, ...] = (),
        source: Path | None = None,
    ) -> list[Node]:
        """Start a command on both nodes; the second gets further words, or another source."""
        port = free_port()
        started = []
        for rank in (0, 1):
            launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
            launcher += ["--nproc-per-node=1", f"--node-rank={rank}", "--master-addr=127.0.0.1"]
            launcher += [f"--master-port={port}", "-m", "tag2mask"]
            more = second if rank else ()
            changes = {"PYTHONPATH": str(source)} if rank and source is not None else {}
            started.append(begin([*launcher, *map(str, (*words, *more))], changes))
        return started

    def srun(
        self, *words: str | Path, second: tuple[str | Path, ...] = (), nodes: str = "01"
    ) -> list[Node]:
        """Start a command as srun would, with its variables; the second gets further words."""
        job = {
            "SLURM_JOB_ID": str(free_port()),
            "SLURM_JOB_NAME": "masks",
            "SLURM_STEP_ID": "0",
            "SLURM_NODELIST": "127.0.0.1",
            "SLURM_NNODES": "2",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "1",
            "SLURM_LOCALID": "0",
            "MASTER_PORT": str(free_port()),
        }
        return [
            begin(
                command(*words, *(second if rank == "1" else ())),
                job | {"SLURM_PROCID": rank, "SLURM_NODEID": rank},
            )
            for rank in nodes
        ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def begin(words: list[str], changes: dict[str, str]) -> Node:
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | changes,
        start_new_session=True,
    )


def kill(node: Node) -> None:
    """End a machine, with all that runs on it: torchrun's processes have sessions of their own."""
    for process in [node.pid, *processes_below(node.pid)]:
        os.kill(process, signal.SIGKILL)
    node.communicate()


def processes_below(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == process:
                child = int(path.parent.name)
                found += [child, *processes_below(child)]
    return found


def end(nodes: list[Node], timeout: float = 900) -> list[tuple[int, str, str]]:
    """Wait for the nodes; return exit code, standard output and standard error of each."""
    found = []
    try:
        for node in nodes:
            stdout, stderr = node.communicate(timeout=timeout)
            found.append((node.returncode, stdout, stderr))
    finally:
        for node in nodes:
            if node.poll() is None:
                kill(node)
    return found


def losses(folder: Path) -> np.ndarray:
    with (folder / "losses.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if k != "photos_per_second"}
            for row in csv.DictReader(file)
        ]
    return np.array([[float(value) for value in row.values()] for row in rows])


def files_of(run: Path) -> set[str]:
    """The files of a run, without the journals and logs that each process has of its own."""
    names = (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    return {name for name in names if "items.rank" not in name and "tfevents" not in name}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="module")
def whole(cluster: Cluster) -> list[tuple[int, str, str]]:
    """A whole run on one process and on two nodes; what the nodes printed."""
    alone = call(*cluster.words(cluster.root / "alone"), timeout=900)
    assert alone.returncode == 0, alone.stderr
    return end(cluster.torchrun(*cluster.words(cluster.root / "both")))


def test_a_whole_run_has_the_files_of_one_process(
    cluster: Cluster, whole: list[tuple[int, str, str]]
) -> None:
    for code, _, stderr in whole:
        assert code == 0, stderr
        assert "Traceback" not in stderr and "error" not in stderr
    assert whole[1][1] == ""  # only the first process prints
    alone, both = cluster.root / "alone", cluster.root / "both"
    assert files_of(both) == files_of(alone)
    assert {path.name for path in both.rglob("items.rank*")} == {"items.rank1.jsonl"}
    assert not list(both.glob(".shared-*"))


@pytest.mark.usefixtures("whole")
def test_losses_equal_those_of_one_process(cluster: Cluster) -> None:
    one, two = (losses(cluster.root / name / "train-cam") for name in ("alone", "both"))
    assert len(one) == 3 and (one[:, 1:].std(axis=0) > 1e-4).any()
    np.testing.assert_allclose(two, one, atol=1e-5, rtol=1e-5)
    # Later trainings read maps that differ by rounding, and batch norms see their node's photos.
    for step in ("train-affinity", "train-segmenter"):
        one, two = (losses(cluster.root / name / step) for name in ("alone", "both"))
        assert one.shape == two.shape and np.isfinite(two).all(), step


@pytest.mark.usefixtures("whole")
def test_a_step_of_the_same_inputs_has_the_same_losses(cluster: Cluster) -> None:
    alone, out = cluster.root / "alone", cluster.root / "affinity-on-both"
    words = ["train-affinity", "--data", alone / "prepare", "--labels", alone / "affinity-labels"]
    for code, _, stderr in end(cluster.torchrun(*words, "--recipe", cluster.recipe, "--out", out)):
        assert code == 0, stderr
    np.testing.assert_allclose(losses(out), losses(alone / "train-affinity"), atol=1e-5, rtol=1e-5)


def test_started_by_srun(cluster: Cluster, whole: Any) -> None:
    out = cluster.root / "srun"
    for code, _, stderr in end(cluster.srun(*cluster.words(out, "--until", "train-cam"))):
        assert code == 0, stderr
    one = losses(cluster.root / "alone" / "train-cam")
    np.testing.assert_allclose(losses(out / "train-cam"), one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_killed_node_ends_the_other_and_the_same_command_resumes(
    cluster: Cluster, whole: Any, dead: int
) -> None:
    out = cluster.root / f"killed-{dead}"
    words = cluster.words(out, "--until", "infer-cam")
    nodes = cluster.torchrun(*words)
    other = nodes[1 - dead]
    wait_until(other, lambda: (out / "train-cam" / "losses.csv").is_file())
    kill(nodes[dead])
    killed = time.monotonic()
    _, stderr = other.communicate(timeout=5 * MINUTE)
    assert time.monotonic() - killed < MINUTE
    assert other.returncode == 1
    named = f"error: rank {dead} (host {socket.gethostname()}, process "
    assert named in stderr and "run the same command again: it resumes" in stderr
    for code, _, text in end(cluster.torchrun(*words)):
        assert code == 0, text
    expected = losses(cluster.root / "alone" / "train-cam")
    np.testing.assert_allclose(losses(out / "train-cam"), expected, atol=1e-5, rtol=1e-5)


def test_an_error_of_one_step_is_printed_by_each_node_once(cluster: Cluster) -> None:
    words = cluster.words(cluster.root / "bad", "--set", "train_cam.batch_size=1")
    for code, _, stderr in end(cluster.torchrun(*words)):
        assert code == 1
        assert stderr.count("can't be shared among 2 processes") == 1
        assert "stopped. Its own message" not in stderr


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (("--set", "train_cam.epochs=4"), "train_cam.epochs is 3 on rank 0"),
        (("--until", "walk"), "--until is None on rank 0"),
    ],
)
def test_nodes_of_different_recipes_are_refused(
    cluster: Cluster, second: tuple[str, ...], message: str
) -> None:
    out = cluster.root / "other-recipe"
    for code, _, stderr in end(cluster.torchrun(*cluster.words(out), second=second)):
        assert code == 1
        assert message in stderr and "(host " in stderr
    assert not out.exists()


def test_nodes_of_different_versions_are_refused(cluster: Cluster) -> None:
    source = cluster.root / "source"
    package = Path(tag2mask.__file__).parent
    shutil.copytree(package, source / "tag2mask", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "tag2mask" / "version.py").write_text('__version__ = "9.8.7"\n')
    out = cluster.root / "other-version"
    for code, _, stderr in end(cluster.torchrun(*cluster.words(out), source=source)):
        assert code == 1
        assert "9.8.7 (source " in stderr and tag2mask.__version__ in stderr
    assert not out.exists()


def test_nodes_with_other_photos_are_refused(cluster: Cluster) -> None:
    other = shutil.copytree(cluster.photos, cluster.root / "other-photos")
    out = cluster.root / "other-data"
    nodes = cluster.torchrun(*cluster.words(out), second=("--data", other))
    for code, _, stderr in end(nodes):
        assert code == 1
        assert f"--data is {cluster.photos} on rank 0" in stderr and str(other) in stderr
    assert not out.exists()


def test_a_node_without_the_shared_folder_is_named(cluster: Cluster) -> None:
    out, elsewhere = cluster.root / "here", cluster.root / "there"
    for code, _, stderr in end(cluster.torchrun(*cluster.words(out), second=("--out", elsewhere))):
        assert code == 1
        assert f"rank 1 (host {socket.gethostname()}) did not see" in stderr
    assert not out.exists() and not elsewhere.exists()


def test_a_node_without_the_photos_ends_both(cluster: Cluster) -> None:
    out = cluster.root / "no-photos"
    second = ("--data", cluster.root / "nowhere")
    (code, _, stderr), (other_code, _, other) = end(
        cluster.torchrun(*cluster.words(out), second=second), timeout=3 * MINUTE
    )
    assert (code, other_code) == (1, 1)
    assert "no such data folder" in other
    assert "rank 1 (host" in stderr and "Its own message says why" in stderr


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [(("--recipe", "missing.yaml"), "missing.yaml"), (("--no-such-option",), "No such option")],
)
def test_a_node_that_fails_before_it_is_connected_ends_the_other(
    cluster: Cluster, launcher: str, wrong: tuple[str, ...], message: str
) -> None:
    out = cluster.root / "failed-early"
    start = getattr(cluster, launcher)
    began = time.monotonic()
    (code, _, stderr), (other_code, _, other) = end(start(*cluster.words(out), second=wrong))
    assert time.monotonic() - began < MINUTE
    assert code == 1 and other_code != 0
    assert message in other
    assert f"error: rank 1 (host {socket.gethostname()}, process " in stderr
    assert "stopped before all were connected" in stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("started", "message"),
    [("0", "rank 1 did not start this command within"), ("1", "could not be connected")],
)
def test_a_node_that_was_not_started_is_named_in_time(
    cluster: Cluster, started: str, message: str
) -> None:
    out = cluster.root / "alone-of-two"
    began = time.monotonic()
    ((code, _, stderr),) = end(cluster.srun(*cluster.words(out), nodes=started))
    assert time.monotonic() - began < 2.5 * MINUTE
    assert code == 1 and message in stderr
    assert f"waiting for rank {1 - int(started)}, " in stderr
    assert not out.exists()
