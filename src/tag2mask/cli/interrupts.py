"""How the command ends when the user interrupts it; imports nothing, so that it is ready first."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130
"""Exit code, that of a shell for SIGINT."""


def end_interrupted() -> NoReturn:
    """Print that the command was interrupted, and end the process by SystemExit."""
    # An interrupt inside code compiled from a string, as in dataclasses, makes Python end by the
    # signal instead of our exit code, unless such code runs once more.
    exec("")
    print("interrupted; run the same command again to resume", file=sys.stderr, flush=True)
    raise SystemExit(INTERRUPTED)
