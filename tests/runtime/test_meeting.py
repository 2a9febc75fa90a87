"""The processes of a launcher meet; those that fail or are missing are named. Ranks are threads."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from torch.distributed import DistError, TCPStore

from tag2mask.errors import NodesError
from tag2mask.runtime import meeting, processes
from tag2mask.runtime.launcher import Launch
from tag2mask.runtime.meeting import MeetingPlace, meet, patience, report_early_end


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_over", False)
    monkeypatch.setattr(meeting, "_ATTEMPT_SECONDS", 0.3)
    for name in ("TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places() -> list[MeetingPlace]:
    """Three nodes of one process each; the first one opens the store."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    return [MeetingPlace(Launch("srun", rank, 3, 1), "127.0.0.1", port) for rank in range(3)]


@pytest.fixture
def start() -> Iterator[Callable[[MeetingPlace], Future[TCPStore]]]:
    with ThreadPoolExecutor(3) as threads:
        yield lambda place: threads.submit(meet, place)


def fails_early(monkeypatch: pytest.MonkeyPatch, place: MeetingPlace) -> None:
    monkeypatch.setattr(meeting, "find_launch", lambda: place.launch)
    monkeypatch.setattr(processes, "meeting_place", lambda _: place)
    report_early_end()


def test_all_meet_in_any_order(
    places: list[MeetingPlace], start: Callable[[MeetingPlace], Future[TCPStore]]
) -> None:
    late = [start(places[2]), start(places[1])]
    time.sleep(0.5)  # longer than an attempt: the store is not there yet
    assert not any(one.done() for one in late)
    stores = [one.result(20) for one in (start(places[0]), *late)]
    stores[1].set("a", "b")
    assert stores[2].get("a") == b"b"


def test_a_process_that_failed_is_named(
    places: list[MeetingPlace],
    start: Callable[[MeetingPlace], Future[TCPStore]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = [start(place) for place in places[:2]]
    began = time.monotonic()
    fails_early(monkeypatch, places[2])
    for one in waiting:
        with pytest.raises(NodesError, match=rf"rank 2 \(host {socket.gethostname()}, .*stopped"):
            one.result(20)
    assert time.monotonic() - began < 10


def test_the_first_process_stays_until_its_failure_was_read(
    places: list[MeetingPlace],
    start: Callable[[MeetingPlace], Future[TCPStore]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = [start(place) for place in places[1:]]
    fails_early(monkeypatch, places[0])
    for one in waiting:
        assert one.done() or one.exception(0.5)
        with pytest.raises(NodesError, match=r"rank 0 .*stopped.*run the same command again"):
            one.result()


def test_nobody_is_told_after_the_meeting_or_without_a_launcher(
    places: list[MeetingPlace],
    start: Callable[[MeetingPlace], Future[TCPStore]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Launch] = []
    monkeypatch.setattr(meeting, "_tell", told.append)
    for launch in (None, Launch("torchrun", 0, 1, 1)):
        monkeypatch.setattr(meeting, "_over", False)
        monkeypatch.setattr(meeting, "find_launch", lambda launch=launch: launch)
        report_early_end()
    for one in [start(place) for place in places]:
        one.result(20)
    fails_early(monkeypatch, places[1])
    assert told == []


def test_a_missing_process_is_named_in_time(
    places: list[MeetingPlace],
    start: Callable[[MeetingPlace], Future[TCPStore]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(meeting, "patience", lambda: 1.0)
    monkeypatch.setattr(meeting, "NOTE_SECONDS", 0.2)
    waiting = [start(places[0]), start(places[2])]
    for one in waiting:
        with pytest.raises(NodesError, match="rank 1 did not start this command within 1 s"):
            one.result(20)
    assert "waiting for rank 1, 1 s at most\n" in capsys.readouterr().err


def test_a_missing_first_process(
    places: list[MeetingPlace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(meeting, "patience", lambda: 1.0)
    monkeypatch.setattr(meeting, "NOTE_SECONDS", 0.2)
    with pytest.raises(DistError):
        meet(places[1])
    assert "waiting for rank 0, 1 s at most\n" in capsys.readouterr().err


def test_each_attempt_of_the_launcher_meets_for_itself(
    places: list[MeetingPlace],
    start: Callable[[MeetingPlace], Future[TCPStore]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = places[0].store(5)  # torchrun keeps its store over its attempts
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    fails_early(monkeypatch, places[1])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    for one in [start(place) for place in places]:
        one.result(20)
    del agent


def test_patience_grows_with_a_slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    found = []
    for seconds in (0, 30, 24 * 3600):
        monkeypatch.setattr(meeting, "BEGUN", now - seconds)
        found.append(round(patience()))
    assert found == [60, 150, 600]
