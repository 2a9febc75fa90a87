"""Peak memory of this process."""

from __future__ import annotations

import resource
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
