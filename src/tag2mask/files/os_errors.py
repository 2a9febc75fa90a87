"""Errors of the system as errors that say what to do: a full disk, a missing permission."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tag2mask.errors import RunFolderError

_EXPLAINED = {
    errno.ENOSPC: (
        "the disk is full",
        "Free some space and run the same command again: it resumes.",
    ),
    errno.EDQUOT: (
        "the disk quota is used up",
        "Free some space and run the same command again: it resumes.",
    ),
    errno.EACCES: (
        "no permission to write",
        "Give a folder you may write to, or change its permissions.",
    ),
    errno.EPERM: (
        "no permission to write",
        "Give a folder you may write to, or change its permissions.",
    ),
    errno.EROFS: ("the file system is read-only", "Give a folder on a writable disk."),
    errno.EFBIG: (
        "the file would be larger than the system allows",
        "Raise the limit (`ulimit -f`), or give a folder on another disk. "
        "Then run the same command again: it resumes.",
    ),
    errno.EAGAIN: (
        "the system can't provide another process, thread or buffer now",
        "Raise the limit (`ulimit -u`) or lower runtime.workers and runtime.threads. "
        "Then run the same command again: it resumes.",
    ),
    errno.EMFILE: (
        "too many files are open",
        "Raise the limit (`ulimit -n`) or lower runtime.workers. "
        "Then run the same command again: it resumes.",
    ),
    errno.EIO: (
        "the disk reports an error",
        "Check the disk, or give a folder on another one.",
    ),
    errno.ENAMETOOLONG: ("the file name is too long", "Shorten the photo's file name or the path."),
    errno.ENOTDIR: ("a file is in the place of the folder", "Give another folder."),
    errno.EEXIST: ("a file is in the place of the folder", "Give another folder."),
    errno.EISDIR: ("a folder is in the place of the file", "Give the path of a file."),
    errno.ENXIO: ("it is a pipe or a device", "Put a file in its place, or delete it."),
    errno.ELOOP: (
        "a link is in the place of the file, or leads to itself",
        "Put the file itself in its place, or delete the link.",
    ),
}
_OF_WRITING = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
)
"""Errors whose explanation is only right where a file is being written."""
_OF_READING = {number: text for number, text in _EXPLAINED.items() if number not in _OF_WRITING}


@contextmanager
def readable_os_errors(where: Path, *, only_inside: bool = False) -> Iterator[None]:
    """Turn a full disk or a missing permission into a RunFolderError.

    Args:
        where: the file or folder to name when the system's error names none.
        only_inside: re-raise errors that name a file outside of ``where`` unchanged.

    Raises:
        RunFolderError: instead of such an OSError; other errors are not changed.
    """
    try:
        yield
    except OSError as error:
        named = _named_file(error) or where
        if error.errno not in _EXPLAINED or (
            only_inside and not named.absolute().is_relative_to(where.absolute())
        ):
            raise
        what, fix = _EXPLAINED[error.errno]
        raise RunFolderError(what, where=named, fix=fix) from error


def _named_file(error: OSError) -> Path | None:
    """Return the file that a system error names, if any; some libraries give it as bytes."""
    name = error.filename
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) and name else None


def os_error_text(error: OSError) -> str:
    """Return what happened, where, and how to fix it if that is known, as one line."""
    what, fix = _OF_READING.get(error.errno or 0, (error.strerror or str(error), None))
    return str(RunFolderError(what, where=_named_file(error), fix=fix))


def reading_fix(error: OSError) -> str:
    """Return what to do about a file that can't be read."""
    return _OF_READING.get(error.errno or 0, ("", "Check the path and its permissions."))[1]


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless it exists.

    Raises:
        RunFolderError: it can't be created.
    """
    with readable_os_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # as in /proc
            raise RunFolderError(
                "the folder can't be made", where=folder, fix="Give another folder."
            ) from error
