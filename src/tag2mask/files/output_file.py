"""A check of files that a command writes after long work."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tag2mask.files.os_errors import readable_os_errors


def check_output_file(path: Path) -> None:
    """Check, before long work, that a file can be written.

    Raises:
        RunFolderError: a folder has its name, or its folder can't be made or written.
    """
    with readable_os_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
