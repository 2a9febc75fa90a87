"""Opening of files that were found in folders of others."""

from __future__ import annotations

import errno
import stat
from io import BufferedReader
from pathlib import Path


class SpecialFileError(OSError):
    """A pipe or a device, whose reading may never end; ``errno`` is ENXIO, which no file has."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file, or a link to one, for reading.

    Raises:
        SpecialFileError: a pipe or a device.
        OSError: it can't be opened.
    """
    check_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Return the content of a file, or of the one that a link leads to; see `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def check_regular(path: Path) -> None:
    """Check that opening a file doesn't wait for another process.

    Raises:
        SpecialFileError: a pipe or a device.
        OSError: it is missing.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder is an error of its own
        raise SpecialFileError(errno.ENXIO, "it is a pipe or a device", str(path))
