"""How the command ends when the user interrupts it; imports nothing, to be there first."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130
"""Exit code, that of a shell for SIGINT."""


def end_interrupted() -> NoReturn:
    """Say so and end the process by SystemExit."""
    # An interrupt that meets code made from a string, as dataclasses are, makes Python end by the
    # signal in place of our exit code, unless such code runs once more.
    exec("")
    print("interrupted; run the same command again to resume", file=sys.stderr, flush=True)
    raise SystemExit(INTERRUPTED)
