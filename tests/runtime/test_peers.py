"""A process that dies is named by the others, which end; one that ends by itself is not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_runs import environment

SCRIPT = Path(__file__).with_name("peer_process.py")
DIED = "error: rank {0} (host host-{0}, process 10{0}) was killed, or its machine can't be reached."
STOPPED = "error: rank {0} (host host-{0}, process 10{0}) stopped. Its own message says why."
Process = subprocess.Popen[str]


def begin(rank: int, world: int, *place: str) -> Process:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(rank), str(world), *place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


@pytest.fixture
def three() -> Iterator[list[Process]]:
    first = begin(0, 3)
    assert first.stdout is not None
    place = first.stdout.readline().split()
    processes = [first, begin(1, 3, *place), begin(2, 3, *place)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def say(process: Process, how: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{how}\n")
    process.stdin.flush()


def end(process: Process) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_a_killed_process_is_named_and_the_others_end(three: list[Process], dead: int) -> None:
    others = [process for process in three if process is not three[dead]]
    for process in others:
        say(process, "hang")
    three[dead].kill()
    for process in others:
        code, stderr = end(process)
        assert code == 1
        assert stderr.startswith(DIED.format(dead))
        assert "run the same command again" in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["error", "bug"])
@pytest.mark.parametrize("failed", [0, 2])
def test_an_error_of_one_process_ends_the_others(
    three: list[Process], failed: int, how: str
) -> None:
    for process in three:
        say(process, how if process is three[failed] else "hang")
    for process in three:
        code, stderr = end(process)
        if process is three[failed]:
            assert (code, "Traceback" in stderr) == ((5, False) if how == "error" else (1, True))
        else:
            assert (code, stderr) == (1, f"{STOPPED.format(failed)}\n")


def test_the_same_error_on_all_is_left_to_each(three: list[Process]) -> None:
    for process in three:
        say(process, "error")
    assert [end(process) for process in three] == [(5, "")] * 3


def test_a_process_that_is_done_ends_nobody(three: list[Process]) -> None:
    say(three[1], "done")
    assert end(three[1]) == (0, "")
    time.sleep(1)
    assert three[0].poll() is None and three[2].poll() is None
    say(three[0], "done")
    assert end(three[0]) == (0, "")
    time.sleep(0.5)
    assert three[2].poll() is None
    say(three[2], "done")
    assert end(three[2]) == (0, "")


def test_a_broken_connection_is_explained_by_who_died(three: list[Process]) -> None:
    say(three[0], "broken connection")
    say(three[1], "broken connection")
    three[2].kill()
    for process in three[:2]:
        code, stderr = end(process)
        assert code == 1 and stderr.startswith(DIED.format(2))


def test_a_stranger_is_refused() -> None:
    first = begin(0, 2)
    assert first.stdout is not None
    port, _ = first.stdout.readline().split()
    code, stderr = end(begin(1, 2, port, "wrong"))
    assert code == 4 and "refused rank 1" in stderr
    assert first.poll() is None
    say(first, "done")
    assert end(first) == (0, "")


def test_an_unreachable_first_process_is_named() -> None:
    code, stderr = end(begin(1, 2, "9", "token"))  # the discard port, where nobody listens
    assert code == 4
    assert "can't connect to the first process" in stderr and "[127.0.0.1:9]" in stderr
