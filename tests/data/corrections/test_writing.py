"""Writing decisions: on the disk when confirmed, unchanged when it fails, after kills."""

from __future__ import annotations

import errno
import io
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
from PIL import Image

from small_runs import environment
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision, decision_line, read_decisions
from tag2mask.data.corrections.folder import Corrections, copy_corrections, read_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.masks import read_mask, write_mask
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


PHOTOS, DIGITS = 3, 12
WRITER = f"""
import sys
from pathlib import Path
import numpy as np
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
first = int(sys.argv[2])
with open_corrections(Path(sys.argv[1]), ClassSet(("cat", "dog"))) as writer:
    for number in range(first, first + 100000):
        photo = f"photo-{{number % {PHOTOS}}}"
        before = writer.decisions.get(photo), writer.corrections.mask_bytes(photo)
        # A decision has its number as a tag, and the number's digits as the pixels of its mask.
        digits = [int(digit) for digit in np.base_repr(number, 3).zfill({DIGITS})]
        decision = Decision(photo, ("corrected", "good")[number % 2], (str(number),))
        writer.write(decision, np.array([digits], np.uint8))
        if number % 4 == 0 and before[0]:
            writer.restore(*before)
        print(photo, writer.decisions[photo].tags_added[0], flush=True)
"""


def number_of(content: bytes) -> int:
    """Return the number that a mask of `WRITER` was made of."""
    with Image.open(io.BytesIO(content)) as image:
        return int("".join(map(str, np.asarray(image)[0])), 3)


def check_masks_belong(found: Corrections) -> dict[str, int]:
    """Check that each decision has the mask that it was written with; return their numbers."""
    numbers = {photo: int(own.tags_added[0]) for photo, own in found.decisions.items()}
    for photo, number in numbers.items():
        content = found.mask_bytes(photo)
        assert content is not None and number_of(content) == number
    return numbers


def numbers_confirmed_by_killed_writer(
    folder: Path, first: int, seconds: float
) -> list[tuple[str, int]]:
    """Write decisions in a process that is killed; return what it confirmed, in its order."""
    arguments: list[Any] = [sys.executable, "-c", WRITER, folder, str(first)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    end = time.monotonic() + seconds
    while time.monotonic() < end:  # another process that reads meanwhile
        check_masks_belong(read_corrections(folder))
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    rows = [line.split() for line in lines if line.endswith("\n")]
    return [(photo, int(number)) for photo, number in rows]


def check_nothing_confirmed_is_lost(folder: Path, kills: int) -> None:
    confirmed: dict[str, int] = {}
    first, moments = 0, random.Random(0)
    for _ in range(kills):
        made = numbers_confirmed_by_killed_writer(folder, first, moments.uniform(0, 0.1))
        confirmed |= made
        first += len(made)  # the decision that was in flight
        found = check_masks_belong(read_corrections(folder))
        files = read_corrections(folder).masks()
        for photo, number in found.items():
            allowed = {confirmed.get(photo, first)}
            if photo == f"photo-{first % PHOTOS}":
                allowed.add(first)
            assert number in allowed
            assert number_of(files[photo].read_bytes()) == number
        assert confirmed.keys() <= found.keys()
        confirmed = found


def test_no_confirmed_decision_is_lost_by_a_kill(tmp_path: Path) -> None:
    check_nothing_confirmed_is_lost(tmp_path, kills=4)


@pytest.mark.slow
def test_no_confirmed_decision_is_lost_by_a_hundred_kills(tmp_path: Path) -> None:
    check_nothing_confirmed_is_lost(tmp_path, kills=100)


def test_a_decision_that_cannot_be_written_leaves_the_earlier_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_corrections(tmp_path, CLASSES) as writer:
        first = writer.write(Decision("a", "corrected"), MASK)
        before = writer.corrections.mask_bytes("a")
        last = writer.write(Decision("a", "good"), np.ones_like(MASK))
        full_from_now(monkeypatch)
        for photo in ("a", "b"):
            with pytest.raises(RunFolderError, match="full"):
                writer.write(Decision(photo, "good"), np.zeros_like(MASK))
        for mask in (before, None):
            with pytest.raises(RunFolderError, match="full"):
                writer.restore(first, mask)
        assert read_corrections(tmp_path).decisions == {"a": last}
        assert (read_mask(writer.corrections.mask_file("a"), 2) == 1).all()
        assert not writer.corrections.mask_file("b").exists()
        monkeypatch.undo()
        writer.restore(first, before)
        assert np.array_equal(read_mask(writer.corrections.mask_file("a"), 2), MASK)
        writer.restore(first, None)
        assert not writer.corrections.masks()


def full_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _line: bytes) -> None:
        raise RunFolderError("the disk is full", where=path, fix="Free some space.")

    monkeypatch.setattr("tag2mask.data.corrections.writing._append", full)


def test_a_mask_without_a_digest_counts_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks" / "a.png", MASK, CLASSES.colors)
    (tmp_path / "decisions.jsonl").write_text('{"photo": "a", "verdict": "corrected"}\n')
    with open_corrections(tmp_path, CLASSES) as writer:
        file = writer.corrections.masks()["a"]
        assert file == tmp_path / "masks" / "a.png" and np.array_equal(read_mask(file, 2), MASK)
        before, content = writer.decisions["a"], file.read_bytes()
        writer.write(Decision("a", "good"), np.zeros_like(MASK))
        writer.restore(before, content)
        assert file.read_bytes() == writer.corrections.mask_bytes("a") == content


@pytest.mark.parametrize("values", [(1,), (1, 1), (1, 2, 1), (1, 2, 1, 1)])
def test_a_mask_that_was_changed_by_hand_counts(tmp_path: Path, values: tuple[int, ...]) -> None:
    with open_corrections(tmp_path, CLASSES) as writer:
        for value in values:
            writer.write(Decision("a", "corrected"), np.full_like(MASK, value))
    write_mask(tmp_path / "masks" / "a.png", MASK, CLASSES.colors)
    with open_corrections(tmp_path, CLASSES) as writer:
        writer.write(Decision("a", "corrected", ("cat",)))
        file = writer.corrections.masks()["a"]
    assert np.array_equal(read_mask(file, 2), MASK)


def test_a_reader_keeps_the_masks_of_the_decisions_that_it_read(tmp_path: Path) -> None:
    with open_corrections(tmp_path / "corrections", CLASSES) as writer:
        writer.write(Decision("a/b", "corrected"), MASK)
        read = read_corrections(tmp_path / "corrections")
        for value in (0, 1):
            writer.write(Decision("a/b", "good"), np.full_like(MASK, value))
    copy_corrections(read, tmp_path / "copy", CLASSES)
    copy = read_corrections(tmp_path / "copy")
    assert np.array_equal(read_mask(copy.masks()["a/b"], 2), MASK)
    assert copy.decisions == read.decisions and not (tmp_path / "copy" / "earlier").exists()


def test_links_inside_are_not_written_through(tmp_path: Path) -> None:
    folder, other = tmp_path / "corrections", tmp_path / "other"
    folder.mkdir()
    (folder / "decisions.jsonl").symlink_to(other)
    with (
        pytest.raises(RunFolderError, match=r"a link is in the place.*/decisions\.jsonl\]"),
        open_corrections(folder, CLASSES),
    ):
        pass
    assert not other.exists()
    (folder / "decisions.jsonl").unlink()
    other.mkdir()
    (folder / "masks").symlink_to(other)
    with (
        pytest.raises(RunFolderError, match=r"a link to another folder.*/masks\]"),
        open_corrections(folder, CLASSES),
    ):
        pass
    (folder / "masks").unlink()
    (tmp_path / "linked").symlink_to(folder)
    with open_corrections(tmp_path / "linked", CLASSES) as writer:
        writer.write(Decision("a", "corrected"), MASK)
    assert (folder / "masks/a.png").is_file()
