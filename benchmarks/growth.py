"""Time per photo and peak memory of the steps' own work, with few photos and with many.

What is measured is the work around the networks: listing, journals, files, counts, pages. Each
step runs in a process of its own, see `benchmarks.growth_steps`.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.growth_steps import STEPS, run_step
from benchmarks.measure import Row
from benchmarks.peak import measured_apart
from benchmarks.small_photos import write_masks, write_photos

COUNTS = (100, 1_000, 10_000)
"""Numbers of photos."""
TOY_COUNTS = (4, 12, 24)
LEAST_MS = 0.001
"""Differences of less can't be measured and count as this."""


class Taken(NamedTuple):
    """What a step took."""

    seconds: float
    """Processor seconds of all threads, without start-up."""
    mib: float
    """Peak memory of the process, MiB."""


@cache
def measurements(*, toy: bool = False) -> dict[str, tuple[Taken, ...]]:
    """Return what each step took with each number of photos."""
    found: dict[str, tuple[Taken, ...]] = dict.fromkeys(STEPS, ())
    for count in TOY_COUNTS if toy else COUNTS:
        with TemporaryDirectory(prefix="tag2mask-bench-") as folder:
            root = Path(folder)
            write_photos(root / "data", count)
            write_masks(root / "data", count)
            for name in STEPS:
                # At a toy size one process suffices, but for one step.
                if toy and name != "prepare":
                    taken = Taken(*run_step(name, root))
                else:
                    taken = Taken(*measured_apart("benchmarks.growth_steps", name, root))
                found[name] += (taken,)
    return found


def time_per_photo(step: str, *, toy: bool = False) -> Row:
    """Compare the times of a further photo: between the two larger counts and the two smaller."""
    base, few, many = (1000 * taken.seconds for taken in measurements(toy=toy)[step])
    first, less, more = TOY_COUNTS if toy else COUNTS
    ours, other = (many - few) / (more - less), (few - base) / (less - first)
    return Row.of([max(ours, LEAST_MS)], [max(other, LEAST_MS)], unit="ms")


def peak_memory(step: str, *, toy: bool = False) -> Row:
    """Compare the peak memory with the most photos and with a tenth of them."""
    _, few, many = measurements(toy=toy)[step]
    return Row.of([many.mib], [few.mib], unit="MiB")


TIME_ROWS = {f"growth_{step}": partial(time_per_photo, step) for step in STEPS if step != "maps"}
MEMORY_ROWS = {
    f"growth_{step}_memory": partial(peak_memory, step) for step in STEPS if step != "maps"
}
