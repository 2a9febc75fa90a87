"""Walks over all files below a folder, links to folders included."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tag2mask.errors import DataError
from tag2mask.files.os_errors import readable_os_errors

MAX_DEPTH = 100
"""Levels of folders that a walk enters; Python has a limit of its own, which is no clear error."""
MAX_VISITS = 100
"""How often a walk enters one folder: links to links may lead to it by millions of ways."""

Around = tuple[tuple[int, int], ...]
"""Device and inode of a folder and of those around it, the outermost first."""


class Visits:
    """The folders that a walk has entered: it ends, whatever is nested or linked."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()

    def enter(self, folder: str, above: Around) -> Around | None:
        """Enter a folder.

        Args:
            folder: its path.
            above: the folders around it; empty: the walk begins there.

        Returns:
            It and the folders around it. None: it is one of these, reached by a link.

        Raises:
            DataError: folders are nested too deep, or too many links lead to this one.
            OSError: it can't be read.
        """
        status = os.stat(folder)  # noqa: PTH116 - no Path per folder, for speed
        here = (status.st_dev, status.st_ino)
        if here in above:
            return None  # it would recurse forever
        if len(above) >= MAX_DEPTH:
            raise DataError(
                f"folders are nested more than {MAX_DEPTH} levels deep",
                where=folder,
                fix="Move this folder up, or remove it.",
            )
        self._counts[here] += 1
        if self._counts[here] > MAX_VISITS:
            raise DataError(
                f"links lead to one folder in more than {MAX_VISITS} ways",
                where=folder,
                fix="Remove links to folders.",
            )
        return (*above, here)


def files_under(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it, in the order of their parts.

    Links to files and folders are followed, except back to a folder above; links to nothing are
    left out.

    Raises:
        DataError: folders are nested too deep, or too many links lead to one.
        RunFolderError: no permission to read a folder.
    """
    with readable_os_errors(folder):
        yield from _walk(str(folder), "", (), Visits())


def _walk(folder: str, prefix: str, above: Around, visits: Visits) -> Iterator[str]:
    around = visits.enter(folder, above)
    if around is None:
        return
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        # Not by the entry's methods, which raise where a link leads to itself.
        if os.path.isdir(entry.path):  # noqa: PTH112
            yield from _walk(entry.path, f"{prefix}{entry.name}/", around, visits)
        elif os.path.isfile(entry.path):  # noqa: PTH113
            yield prefix + entry.name
