"""Locks of folders: two processes never write or delete in one folder at a time.

A folder's lock is its file ``.lock``. The system releases it when the process dies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tag2mask.errors import FolderInUseError
from tag2mask.files.links import open_itself
from tag2mask.files.os_errors import make_folder, readable_os_errors

LOCK = ".lock"
_TRIES = 100


@contextmanager
def folder_lock(folder: Path, *, remove: bool = False) -> Iterator[bool]:
    """Lock a folder, which is created unless it exists.

    A process must not lock one folder twice: closing either file ends both locks.

    Args:
        folder: the folder.
        remove: remove the lock's file at the end, and the folder if it is empty then.

    Yields:
        Whether it is locked; some systems have no locks.

    Raises:
        FolderInUseError: another process has locked it.
        RunFolderError: the folder can't be written.
    """
    with _locked(folder) as held:
        try:
            yield held
        finally:
            if remove:
                with suppress(OSError):
                    (folder / LOCK).unlink(missing_ok=True)
                    folder.rmdir()


def is_read_only(folder: Path) -> bool:
    """Return whether a folder exists in which this process can't create a file, not even a lock."""
    return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    if sys.platform == "win32":
        make_folder(folder)
        yield False
        return
    file, held = _locked_file(folder)
    with file:
        yield held


def _locked_file(folder: Path) -> tuple[IO[bytes], bool]:
    """Return the open file of a folder's lock, and whether it is locked."""
    path = folder / LOCK
    for _ in range(_TRIES):
        make_folder(folder)
        # The process that had the folder may have deleted it, or the lock's file, meanwhile.
        with readable_os_errors(folder), suppress(FileNotFoundError):
            file = open_itself(path, "ab")
            try:
                held = _lock(file, folder)
                if not held or os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file, held
            except BaseException:
                file.close()
                raise
            file.close()
    raise FolderInUseError(
        "the folder's lock can't be taken: its file keeps changing",
        where=path,
        fix="Delete this file, or give another folder.",
    )


def _lock(file: IO[bytes], folder: Path) -> bool:
    import fcntl

    try:
        # Not flock: data loading processes would inherit its lock, and it would outlive a kill.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise FolderInUseError(
            "another process is working in this folder",
            where=folder,
            fix="Wait for it to end, or give another folder.",
        ) from None
    except OSError:
        return False  # a file system without locks
    return True
