"""Folders that are written beside an earlier one and take its place at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tag2mask.artifacts.files import make_folder, readable_os_errors, temporary_path
from tag2mask.errors import RunFolderError


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``out`` when the block succeeds.

    Until then an earlier ``out`` stays as it is; after an error or an interrupt, the new folder is
    deleted. What a killed process left is removed by the next call.

    Args:
        out: the folder; of a link, the folder that it leads to is replaced.

    Raises:
        RunFolderError: ``out`` can't be replaced or written.
    """
    place = out.resolve() if out.is_symlink() else out.absolute()
    if os.path.ismount(place):
        raise RunFolderError(
            "this is the root of a disk or volume, which can't be replaced",
            where=out,
            fix="Give a folder inside of it.",
        )
    new = temporary_path(place, f"{place.name}-new")
    old = temporary_path(place, f"{place.name}-old")
    make_folder(place.parent)
    try:
        with readable_os_errors(out):
            if old.is_dir() and not place.exists():  # killed between the two renames below
                old.rename(place)
            for left in (new, old):  # of a killed process
                if left.is_dir():
                    shutil.rmtree(left)
            new.mkdir()
        yield new
        with readable_os_errors(out):
            if place.exists():
                place.rename(old)
            new.rename(place)
    except BaseException:
        with suppress(OSError):
            if old.is_dir() and not place.exists():
                old.rename(place)
        raise
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
