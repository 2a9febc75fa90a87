"""Measuring two things side by side, and saying on which machine."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tag2mask.runtime.precision import cpu_has_bf16

PACKAGES = ("tag2mask", "torchvision", "timm", "numpy", "pillow")


class Row(NamedTuple):
    """One figure.

    Attributes:
        ratio: ours / other; the smaller the better.
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
        """Medians of both, and their ratio."""
        mine, theirs = statistics.median(ours), statistics.median(other)
        return cls(mine / theirs, mine, theirs, unit)


def side_by_side(
    ours: Callable[[], object], other: Callable[[], object], *, seconds: float, most: int = 25
) -> Row:
    """Time two functions in turn, so that whatever else the machine does slows both.

    Args:
        ours: what is judged.
        other: what it is compared with.
        seconds: stop after as many, but not before each was timed three times.
        most: times that each is timed at most.
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


def peak_kib() -> int:
    """Peak memory of this process since it began.

    Linux counts it per program in VmHWM; ``getrusage`` there starts from the parent's.
    """
    path = Path("/proc/self/status")
    if path.is_file():
        line = next(x for x in path.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
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
    """Versions of Python and of the packages that the figures depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> str | None:
    """The commit that is checked out, with ``+`` where files differ from it; None without git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ("git", *arguments),
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
