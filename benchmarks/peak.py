"""Peak memory of this process, and figures that another process measures of itself."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path


def peak_kib() -> int:
    """Return the peak memory of this process since its start, KiB.

    On Linux it is VmHWM: ``getrusage`` would include the parent's peak.
    """
    path = Path("/proc/self/status")
    if path.is_file():
        line = next(x for x in path.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def measured_apart(module: str, *arguments: object) -> list[float]:
    """Return the figures in the last line that a module prints, run in a process of its own."""
    done = subprocess.run(
        (sys.executable, "-m", module, *map(str, arguments)),
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(figure) for figure in done.stdout.splitlines()[-1].split()]
