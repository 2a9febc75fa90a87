"""Stamps of files: short texts that differ once a file is changed or replaced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def file_stamp(status: os.stat_result) -> str:
    """Return ``<bytes>-<mtime_ns>``, which differs where a file was changed."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def files_stamp(paths: Iterable[Path]) -> str:
    """Return a text that changes when one of the files does, by sizes and times.

    Names count, so that two files that change places are seen; folders don't, so that data may be
    moved. Files that don't exist may be among them.
    """
    files = sorted(paths)
    digest = hashlib.sha256()
    for path in files:
        try:
            state = file_stamp(path.stat())
        except OSError:
            state = "missing"
        digest.update(os.fsencode(f"{path.name}\0{state}\n"))
    return f"{len(files)}-{digest.hexdigest()[:16]}"
