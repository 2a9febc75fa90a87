"""Timing of two functions side by side, what both write to, and a description of the machine."""

from __future__ import annotations

import io
import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from tag2mask.runtime.precision import cpu_has_bf16

PACKAGES = ("tag2mask", "torchvision", "timm", "numpy", "pillow")


class Row(NamedTuple):
    """One comparison.

    Attributes:
        ratio: ours / other; smaller is better.
        ours: median, in ``unit``.
        other: median, in ``unit``.
        unit: of both.
    """

    ratio: float
    ours: float
    other: float
    unit: str

    @classmethod
    def of(cls, ours: Iterable[float], other: Iterable[float], unit: str) -> Row:
        """Return the row of both medians and their ratio."""
        mine, theirs = statistics.median(ours), statistics.median(other)
        return cls(mine / theirs, mine, theirs, unit)


@contextmanager
def new_folders() -> Iterator[Iterator[Path]]:
    """Give folders that don't exist yet, deleted in the end."""
    with TemporaryDirectory(prefix="tag2mask-bench-") as folder:
        yield (Path(folder) / str(number) for number in itertools.count())


def quiet() -> AbstractContextManager[Any]:
    """Return a context without progress bars, nor anything else on the standard error."""
    return redirect_stderr(io.StringIO())


def side_by_side(
    ours: Callable[[], object], other: Callable[[], object], *, seconds: float, most: int = 25
) -> Row:
    """Time two functions alternately, so that other load on the machine affects both.

    Args:
        ours: the function to judge.
        other: the function to compare with.
        seconds: stop after this time, but not before each was timed three times.
        most: maximum number of times that each is timed.
    """
    ours(), other()  # the first call allocates and compiles
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < 3 or (len(times[0]) < most and time.perf_counter() < end):
        for function, taken in zip((ours, other), times, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return Row.of(*times, unit="s")


def machine() -> dict[str, Any]:
    """Describe the machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch_threads": torch.get_num_threads(),
        "native_bf16": cpu_has_bf16(),
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the results."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in PACKAGES},
    }


SUCCESS = (0, 3)
"""Exit codes of runs that reached their end; 3: photos were skipped."""


def commit() -> str | None:
    """Return the checked-out commit, with ``+`` where files differ from it; None without git.

    Logs of experiments are no difference: each row changes one.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ("git", *arguments),
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/*.jsonl")
        return git("rev-parse", "--short", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
