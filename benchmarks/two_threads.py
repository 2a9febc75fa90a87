"""Speed-up by two threads on this machine, as a reference for `crf_two_threads_vs_one`.

Two processors of a virtual machine are often the two hardware threads of one core, which share its
vector units, caches and memory bandwidth.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Row, side_by_side
from tag2mask.runtime.compiled import Team, compiled

IN_CACHE, IN_MEMORY = 2**14, 2**25
"""Length of each of a thread's two float32 arrays: 64 kB, 128 MB."""
NUMBERS = 2**27
"""Number of updates of all threads together."""


@compiled
def blend(values: npt.NDArray[np.float32], other: npt.NDArray[np.float32], rounds: int) -> None:
    """Blend ``other`` into ``values``, ``rounds`` times."""
    for _ in range(rounds):
        for i in range(len(values)):
            values[i] = np.float32(0.99) * values[i] + other[i]


def loop_in_cache(*, toy: bool = False) -> Row:
    """Compare a vector loop over arrays that fit into a core's cache."""
    return _two_vs_one(IN_CACHE, toy=toy)


def loop_in_memory(*, toy: bool = False) -> Row:
    """Compare the same loop over arrays that don't fit into a cache."""
    return _two_vs_one(IN_MEMORY, toy=toy)


def _two_vs_one(size: int, *, toy: bool) -> Row:
    size = 2**10 if toy else size
    arrays = [(np.zeros(size, np.float32), np.ones(size, np.float32)) for _ in range(2)]
    rounds = 1 if toy else NUMBERS // (2 * size)
    with Team(1) as one, Team(2) as two:

        def run(team: Team) -> None:
            team.run(partial(blend, *pair, rounds) for pair in arrays)

        return side_by_side(partial(run, two), partial(run, one), seconds=0 if toy else 5)
