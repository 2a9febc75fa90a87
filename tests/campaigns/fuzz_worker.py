"""The process that reads damaged files for the fuzzer, so that a crash ends only itself."""

from __future__ import annotations

import importlib
import os
import random
import resource
import shutil
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from campaigns.fuzz_damage import damaged
from campaigns.fuzz_target import Target
from tag2mask.errors import Tag2MaskError

GUARD_MIB = 6000
"""What the process may allocate beyond its start, MiB: the machine's memory is spared."""
LAST = "last-input"
"""Name, without suffix, of the copy of the last input, for when the process crashes."""
LONGEST_MESSAGE = 20_000
"""The longest message of an error, characters."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        state: ``read``, ``error`` (a `Tag2MaskError`) or ``escape``.
        kind: of an escape: what and where, in one line.
        detail: of an escape: the traceback.
        seconds: duration.
    """

    state: str
    kind: str = ""
    detail: str = ""
    seconds: float = 0.0


class Reader:
    """A target with its valid files in a folder.

    Args:
        target: the reader.
        folder: an empty folder.
        memory_mib: the most memory that reading one small file may take, MiB.
    """

    def __init__(self, target: Target, folder: Path, memory_mib: int) -> None:
        self._memory_mib = memory_mib
        self._target, self._folder = target, folder
        folder.mkdir(parents=True)
        self._files = [Path(file) for file in target.write(folder)]
        self._valid = [file.read_bytes() for file in self._files]
        refused = [error for file in self._files if (error := self._refusal(file)) is not None]
        if len(refused) == len(self._files):
            raise refused[0]

    def _refusal(self, file: Path) -> Tag2MaskError | None:
        """Read a valid file, which imports what is needed; return why it is of no use."""
        try:
            self._target.read(file)
        except Tag2MaskError as error:  # such as EPS, of all files that Pillow writes
            return error
        return None

    def input(self, seed: int, index: int) -> tuple[Path, bytes]:
        """Return the file to damage and its damaged content."""
        rng = random.Random(f"{seed} {self._target.name} {index}")
        chosen = rng.randrange(len(self._files))
        content = damaged(self._valid[chosen], rng, self._valid, self._target.tokens)
        return self._files[chosen], content

    def run(self, seed: int, index: int) -> Outcome:
        """Read one damaged file; the valid one is put back."""
        file, content = self.input(seed, index)
        (self._folder.parent / f"{LAST}{file.suffix}").write_bytes(content)
        file.write_bytes(content)
        begun = time.perf_counter()
        before = _reset_peak()
        try:
            outcome = self._read(file)
        finally:
            file.write_bytes(self._valid[self._files.index(file)])
        used = _memory("VmHWM") - before
        if used > self._memory_mib:
            kind = f"more than {self._memory_mib} MiB"
            outcome = Outcome("escape", kind, f"{used} MiB for {file}")
        return Outcome(
            outcome.state, outcome.kind, outcome.detail, seconds=time.perf_counter() - begun
        )

    def _read(self, file: Path) -> Outcome:
        try:
            self._target.read(file)
        except Tag2MaskError as error:
            if len(str(error)) > LONGEST_MESSAGE:
                return Outcome("escape", "a very long message", str(error)[:500])
            return Outcome("error")
        except BaseException as error:
            return Outcome("escape", _kind(error), _traceback(error))
        return Outcome("read")


def work(pipe: Connection, module: str, seed: int, folder: Path, memory_mib: int) -> None:
    """Send the targets' shares by name; then, until the pipe is closed, read inputs.

    It gets (target, index) and sends an `Outcome`, before the first one of a target a text: why its
    valid files can't be written or read.
    """
    targets: dict[str, Target] = {t.name: t for t in importlib.import_module(module).TARGETS}
    pipe.send({target.name: target.share for target in targets.values()})
    readers: dict[str, Reader] = {}
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    guarded = (_memory("VmSize") + GUARD_MIB) << 20
    resource.setrlimit(resource.RLIMIT_AS, (guarded, guarded))
    while True:
        try:
            name, index = pipe.recv()
        except EOFError:
            return
        if name not in readers:
            own = folder / name.replace(" ", "-")  # the same path each time
            shutil.rmtree(own, ignore_errors=True)
            try:
                readers[name] = Reader(targets[name], own, memory_mib)
            except BaseException as error:
                pipe.send(_traceback(error))
                return
            pipe.send("")  # the files are written: from now on the time counts
        pipe.send(readers[name].run(seed, index))


def _kind(error: BaseException) -> str:
    """Return the type of an error and the last line of tag2mask that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}tag2mask{os.sep}" in frame.filename]
    where = own[-1] if own else frames[-1]
    return f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}"


def _traceback(error: BaseException) -> str:
    """Return the innermost lines of a traceback, and the message, cut off."""
    lines = traceback.format_exception(error, limit=-6, chain=False)
    return "".join(line[:400] for line in lines)


def _reset_peak() -> int:
    """Forget the largest memory so far, and return the present one, MiB."""
    with open("/proc/self/clear_refs", "w") as control:  # noqa: PTH123 - not a file
        control.write("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) >> 10
