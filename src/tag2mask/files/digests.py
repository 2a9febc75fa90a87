"""Digests of the content of files and folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from tag2mask.files.os_errors import readable_os_errors
from tag2mask.files.regular_file import open_regular
from tag2mask.files.walking import files_under

_DIGESTS: dict[tuple[int, int, int, int], str] = {}
"""Digests of this process, by device, inode, size and time of the file."""


def digest(file: Path) -> str:
    """Return the sha256 (hex) of a file's content, computed once per process and state of the file.

    Raises:
        RunFolderError: a pipe or a device, or no permission to read it.
    """
    with readable_os_errors(file), open_regular(file) as content:
        stat = os.fstat(content.fileno())
        state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if state not in _DIGESTS:
            _DIGESTS[state] = hashlib.file_digest(content, "sha256").hexdigest()
        return _DIGESTS[state]


def file_digest(file: Path) -> str:
    """Return the sha256 (hex) of a file's content, for the many files that are read once.

    Raises:
        RunFolderError: a pipe or a device, or no permission to read it.
    """
    with readable_os_errors(file), open_regular(file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def content_digest(places: Iterable[Path]) -> str:
    """Return the sha256 (hex) of the content of files, and of all files below folders.

    Raises:
        DataError: folders are nested too deep, or too many links lead to one.
        RunFolderError: no permission to read one.
    """
    total = hashlib.sha256()
    for place in places:
        inside = place.is_dir()
        for name in files_under(place) if inside else [place.name] * place.is_file():
            file = place / name if inside else place
            total.update(f"{name}\0{file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
