"""Opening of files that were found in folders of others."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import BinaryIO


class SpecialFileError(OSError):
    """A pipe or a device, whose reading may never end."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file, or a link to one, for reading.

    Raises:
        SpecialFileError: a pipe or a device.
        OSError: it can't be opened.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder is an error of its own
        raise SpecialFileError(errno.EINVAL, "it is a pipe or a device", str(path))
    return path.open("rb")
