"""Reads damaged files with every reader and looks for what escapes: ``make fuzz N=10000``.

Each input is a valid small file with a few random changes: bits, bytes, cuts, pieces of other
files, tokens. Its reader must succeed or raise a `Tag2MaskError`. Everything else is an escape:
another exception, a crash of the process, more than 20 seconds or 600 MiB, an endless message.

Usage: ``PYTHONPATH=tests python tests/campaigns/fuzz.py [--inputs 10000] [--seed 0]``; with
``--only READER --first INDEX --inputs 1`` one input again. Exit code 1 if anything escaped; one
input of each kind is saved. Needs Linux, which tells a process its memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.fuzz_worker import LAST, Outcome, work

READERS = "campaigns.fuzz_readers"
"""Module with all targets."""
SECONDS = 20.0
"""The longest time that reading one small file may take, s."""
MEMORY_MIB = 600
"""The most memory that reading one small file may take, MiB."""
START_SECONDS = 180.0
"""The longest time to import and to write the valid files, s."""


@dataclass
class Tally:
    """What happened to one target's inputs."""

    inputs: int = 0
    errors: int = 0
    escapes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign and return its exit code."""
    parser = argparse.ArgumentParser(description="Read damaged files with every reader.")
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--only", default="", help="names of readers, separated by commas")
    parser.add_argument("--first", type=int, default=0, help="index of each reader's first input")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="most per input")
    parser.add_argument("--mib", type=int, default=MEMORY_MIB, help="most memory per input")
    parser.add_argument("--save", type=Path, default=Path("build/fuzz"), help="folder of escapes")
    parser.add_argument("--module", default=READERS, help="module with the readers")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        arguments = (options.module, options.seed, Path(folder), options.mib)
        campaign = _Campaign(options.seconds, *arguments)
        only = options.only.split(",") if options.only else campaign.shares
        shares = {name: campaign.shares[name] for name in only}
        tallies = {name: Tally() for name in shares}
        for name, index, outcome in campaign.outcomes(
            _inputs(shares, options.inputs, options.first)
        ):
            _count(tallies[name], outcome)
            if outcome.state == "escape" and tallies[name].escapes[outcome.kind] == 1:
                saved = _save(options.save, f"{name}-{options.seed}-{index}", Path(folder))
                print(f"ESCAPE of {name}, input {index}: {outcome.kind}\n  {saved}")
                print("  " + outcome.detail.strip().replace("\n", "\n  "), flush=True)
    for name, tally in tallies.items():
        print(
            f"{name:28} {tally.inputs:6} inputs {tally.errors:6} errors "
            f"{tally.escapes.total():4} escapes  {tally.slowest:5.1f} s at most"
        )
    escapes = sum(tally.escapes.total() for tally in tallies.values())
    inputs = sum(tally.inputs for tally in tallies.values())
    print(
        f"{inputs} inputs, {escapes} escapes, seed {options.seed} "
        f"({time.monotonic() - begun:.0f} s)"
    )
    return 1 if escapes else 0


def _inputs(shares: Mapping[str, float], total: int, first: int) -> Iterator[tuple[str, int]]:
    """Yield (target, index), spread over the targets by their shares."""
    end, begun = 0.0, 0
    for name, share in shares.items():
        end += total * share / sum(shares.values())
        for index in range(round(end) - begun):
            yield name, first + index
        begun = round(end)


def _count(tally: Tally, outcome: Outcome) -> None:
    tally.inputs += 1
    tally.errors += outcome.state == "error"
    tally.slowest = max(tally.slowest, outcome.seconds)
    if outcome.state == "escape":
        tally.escapes[outcome.kind] += 1


def _save(to: Path, name: str, work_folder: Path) -> Path:
    """Copy the last input for whoever fixes the reader, and return the copy."""
    last = max(work_folder.glob(f"{LAST}*"), key=lambda file: file.stat().st_mtime_ns)
    to.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(last, to / f"{name.replace(' ', '-')}{last.suffix}"))


class _Campaign:
    """Sends inputs to a process, and starts another one where it crashed or takes too long."""

    def __init__(self, seconds: float, *arguments: Any) -> None:
        self._seconds, self._arguments = seconds, arguments  # those of `work`
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, other = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(other, *self._arguments))
        self._process.start()
        other.close()
        self._known: set[str] = set()
        self.shares: dict[str, float] = self._receive("the readers", START_SECONDS)

    def _receive(self, what: str, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            self._process.kill()
            sys.exit(f"{what}: no answer in {seconds:.0f} s")
        return self._pipe.recv()

    def outcomes(self, inputs: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int, Outcome]]:
        """Yield (target, index, outcome) of each input."""
        for name, index in inputs:
            yield name, index, self._outcome(name, index)
        self._pipe.close()
        self._process.join()

    def _outcome(self, name: str, index: int) -> Outcome:
        self._pipe.send((name, index))
        if name not in self._known:
            if problem := self._receive(name, START_SECONDS):
                sys.exit(f"{name}: the valid files can't be written or read:\n{problem}")
            self._known.add(name)
        try:
            if self._pipe.poll(self._seconds):
                found: Outcome = self._pipe.recv()
                return found
            kind = f"more than {self._seconds:g} s"
        except EOFError:
            self._process.join()
            kind = f"the process crashed: exit code {self._process.exitcode}"
        self._process.kill()
        self._process.join()
        self._start()
        return Outcome("escape", kind)


if __name__ == "__main__":
    sys.exit(main())
