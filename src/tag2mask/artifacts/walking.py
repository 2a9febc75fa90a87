"""All files below a folder, links to folders included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tag2mask.artifacts.files import readable_os_errors


def files_under(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it, in the order of their parts.

    Links to files and folders are followed, except back to a folder above; links to nothing are
    left out.

    Raises:
        RunFolderError: no permission to read a folder.
    """
    with readable_os_errors(folder):
        yield from _walk(str(folder), "", ())


def _walk(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the files below a folder; ``above`` has (device, inode) of the folders around it."""
    status = os.stat(folder)  # noqa: PTH116 - no Path per folder, for speed
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # it would recurse forever
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        # Not by the entry's methods, which raise where a link leads to itself.
        if os.path.isdir(entry.path):  # noqa: PTH112
            yield from _walk(entry.path, f"{prefix}{entry.name}/", (*above, here))
        elif os.path.isfile(entry.path):  # noqa: PTH113
            yield prefix + entry.name
