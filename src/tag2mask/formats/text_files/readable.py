"""Files that can't be read, or not a second time, as errors that the user can fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tag2mask.errors import DataError
from tag2mask.files.os_errors import reading_fix

KEPT = 8
"""Parts of files that are kept after they were read again; so many threads draw masks at most."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name a file that can't be read.

    Raises:
        DataError: instead of an OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"can't be read: {error.strerror or error}", where=path, fix=reading_fix(error)
        ) from None


def file_state(path: Path) -> tuple[int, int] | None:
    """Return size and time of a file, which tell whether what was read of it is still valid.

    None: it can't be seen, which reading it reports.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def changed_file(where: Path | str) -> DataError:
    """Return the error of a file whose parts aren't where they were when it was first read."""
    return DataError(
        "the file has changed while it was read", where=where, fix="Run the command again."
    )
