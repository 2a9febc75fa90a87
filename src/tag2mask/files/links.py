"""Links inside a folder that somebody else made: nothing is written or deleted through them.

A run, a step's folder or a folder of corrections may itself be a link, and photos may be links.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tag2mask.errors import RunFolderError
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.files.regular_file import check_regular


def check_no_linked_folders(folder: Path) -> None:
    """Check that no link below a folder leads to a folder, in which files would be changed.

    Links to files are accepted: these are replaced, or opened by `open_itself`. Hidden entries of
    the folder itself are passed over: nothing is written through earlier files kept by a redo, and
    a volume may have hidden folders of other users.

    Raises:
        RunFolderError: there is one, or a folder can't be read.
    """
    top = str(folder)
    folders = [top]
    while folders:
        inner = folders.pop()
        # Another process, such as the first rank, may delete folders meanwhile.
        with (
            readable_os_errors(Path(inner)),
            suppress(FileNotFoundError),
            os.scandir(inner) as entries,
        ):
            for entry in entries:
                if inner == top and entry.name.startswith("."):
                    continue
                if not entry.is_symlink():
                    if entry.is_dir():
                        folders.append(entry.path)
                elif os.path.isdir(entry.path):  # noqa: PTH112 - False for a link to itself
                    raise RunFolderError(
                        "a link to another folder is inside the folder to write, where files "
                        "would be changed and deleted",
                        where=entry.path,
                        fix="Put the folder itself in its place, or delete the link. The whole "
                        "folder to write may be a link.",
                    )


def open_itself(path: Path, mode: str, *, buffering: int = -1) -> IO[Any]:
    """Open a file for writing in its place, unless it is a link; text is UTF-8.

    Args:
        path: the file.
        mode: as of ``open``.
        buffering: as of ``open``.

    Raises:
        OSError: it is a link (ELOOP), or can't be written.
        SpecialFileError: a pipe or a device. `readable_os_errors` explains both.
    """
    with suppress(FileNotFoundError):
        check_regular(path)
    encoding = None if "b" in mode else "utf-8"

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)  # Windows lacks it

    return open(path, mode, buffering, encoding, opener=opened)
