"""Writing decisions: on the disk when confirmed, unchanged when it fails, after kills."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_runs import environment
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision, decision_line, read_decisions
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError, FolderInUseError, RunFolderError

CLASSES = ClassSet(("cat", "dog"))
MASK = np.array([[0, 1, 2], [255, 0, 1]], np.uint8)


def test_decision_and_mask_are_written_with_a_time(tmp_path: Path) -> None:
    with open_corrections(tmp_path, CLASSES) as writer:
        written = writer.write(Decision("a/b", "corrected"), MASK)
        assert read_decisions(tmp_path / "decisions.jsonl") == {"a/b": written}
        assert np.array_equal(read_mask(tmp_path / "masks/a/b.png", 2), MASK)
    assert written.time.startswith("20")


def test_a_second_writer_and_other_classes_are_refused(tmp_path: Path) -> None:
    with open_corrections(tmp_path, CLASSES) as writer:
        writer.write(Decision("a", "good"))
        script = (
            "from pathlib import Path; from tag2mask.classes import ClassSet\n"
            "from tag2mask.data.corrections.writing import open_corrections\n"
            f"open_corrections(Path({str(tmp_path)!r}), ClassSet(('cat', 'dog'))).__enter__()"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert FolderInUseError.__name__ in done.stderr
    other = ClassSet(("dog", "cat"))
    with (
        pytest.raises(DataError, match="of the classes cat, dog"),
        open_corrections(tmp_path, other),
    ):
        pass


def test_the_end_of_a_killed_writer_is_cut_off(tmp_path: Path) -> None:
    path, first = tmp_path / "decisions.jsonl", decision_line(Decision("a", "good"))
    path.write_bytes(first + b'{"photo": "b", "ver')
    with open_corrections(tmp_path, CLASSES) as writer:
        assert path.read_bytes() == first
        writer.write(Decision("c", "bad", time="now"))
    assert path.read_bytes() == first + decision_line(Decision("c", "bad", time="now"))
    path.write_bytes(first[:-1])  # a file by hand, without a last line break
    with open_corrections(tmp_path, CLASSES) as writer:
        writer.write(Decision("c", "bad"))
    assert list(read_decisions(path)) == ["a", "c"]


@pytest.mark.parametrize("written", [0, 7])
def test_a_full_disk_leaves_the_decisions_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    with open_corrections(tmp_path, CLASSES) as writer:
        writer.write(Decision("a", "good"))
        before = (tmp_path / "decisions.jsonl").read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunFolderError, match="the disk is full"):
            writer.write(Decision("b", "bad"))
        with pytest.raises(RunFolderError, match="the disk is full"):
            writer.write(Decision("a", "corrected"), MASK)
        monkeypatch.undo()
        assert (tmp_path / "decisions.jsonl").read_bytes() == before
        assert list(writer.decisions) == ["a"]
        assert not (tmp_path / "masks" / "a.png").exists()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
first = int(sys.argv[2])
with open_corrections(Path(sys.argv[1]), ClassSet(("cat", "dog"))) as writer:
    for number in range(first, first + 100000):
        mask = np.full((40, 50), number % 3, np.uint8)
        verdict = ("corrected", "bad", "good")[number % 3]
        writer.write(Decision(f"photo-{number % 7}", verdict, time=str(number)), mask)
        print(number, flush=True)
"""


def confirmed_by_killed_writer(folder: Path, first: int, seconds: float) -> int:
    """Write decisions in a process that is killed; return the last one it confirmed."""
    arguments: list[Any] = [sys.executable, "-c", WRITER, folder, str(first)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    last = int(process.stdout.readline())
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    lines = process.stdout.read().splitlines()
    process.wait()
    return max([last, *(int(line) for line in lines if line.isdigit())])


def check_nothing_confirmed_is_lost(folder: Path, kills: int) -> None:
    first, moments = 0, random.Random(0)
    for _ in range(kills):
        last = confirmed_by_killed_writer(folder, first, moments.uniform(0, 0.1))
        found = read_corrections(folder)
        for number in range(max(first, last - 6), last + 1):
            kept = found.decisions[f"photo-{number % 7}"]
            assert int(kept.time) >= number
        for mask in found.masks().values():
            assert len(np.unique(read_mask(mask, 2))) == 1
        first = last + 1


def test_no_confirmed_decision_is_lost_by_a_kill(tmp_path: Path) -> None:
    check_nothing_confirmed_is_lost(tmp_path, kills=4)


@pytest.mark.slow
def test_no_confirmed_decision_is_lost_by_a_hundred_kills(tmp_path: Path) -> None:
    check_nothing_confirmed_is_lost(tmp_path, kills=100)


def test_a_decision_that_cannot_be_written_leaves_the_earlier_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_corrections(tmp_path, CLASSES) as writer:
        writer.write(Decision("a", "corrected"), MASK)

        def full(*_args: object) -> None:
            raise RunFolderError("the disk is full", where=tmp_path, fix="Free some space.")

        monkeypatch.setattr("tag2mask.data.corrections.writing._append", full)
        for photo in ("a", "b"):
            with pytest.raises(RunFolderError, match="full"):
                writer.write(Decision(photo, "good"), np.zeros_like(MASK))
        assert np.array_equal(read_mask(writer.corrections.mask_file("a"), 2), MASK)
        assert not writer.corrections.mask_file("b").exists()
