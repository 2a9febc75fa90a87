"""Errors of the system while a file is read, as errors that the user can fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tag2mask.errors import DataError


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
            f"can't be read: {error.strerror or error}",
            where=path,
            fix="Check the path and its permissions.",
        ) from None
