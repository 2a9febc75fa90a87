"""What the fuzzer reads: one `Target` per reader of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A reader, and valid files for it.

    Attributes:
        name: shown in each line.
        write: fills an empty folder, always in the same way, and returns the files to damage.
        read: reads one of these files, which is damaged, and what depends on it.
        tokens: words of the format that may replace others.
        share: inputs, relative to the other targets; lower where reading takes long.
    """

    name: str
    write: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], object]
    tokens: tuple[bytes, ...] = ()
    share: float = 1.0
