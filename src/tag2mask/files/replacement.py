"""Folders that are written beside an earlier one and take its place at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tag2mask.errors import RunFolderError, Tag2MaskError
from tag2mask.files.atomic import temporary_path
from tag2mask.files.lock import folder_lock
from tag2mask.files.os_errors import make_folder, readable_os_errors


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``out`` when the block succeeds.

    Until then an earlier ``out`` stays as it is; after an error or an interrupt, the new folder is
    deleted. At any moment the earlier one is in its place, or beside it with no other in its place,
    where the next call finds it and puts it back. What a killed process left is removed by the next
    call. Inside the block, no other process replaces ``out``.

    Args:
        out: the folder; of a link, the folder that it leads to is replaced.

    Raises:
        FolderInUseError: another process is replacing ``out``.
        RunFolderError: ``out`` can't be replaced or written, or is the working directory or around
            it. Errors of the block name ``out``, not the new folder.
    """
    place = _place(out)
    if os.path.ismount(place):
        raise RunFolderError(
            "this is the root of a disk or volume, which can't be replaced",
            where=out,
            fix="Give a folder inside of it.",
        )
    if Path.cwd().is_relative_to(os.path.realpath(place)):
        raise RunFolderError(
            "this folder can't be replaced while you are in it",
            where=out,
            fix="Change to another folder, or give another --out.",
        )
    make_folder(place.parent)
    lock = temporary_path(place, f"{place.name}-lock")
    with ExitStack() as locks:
        try:
            locks.enter_context(folder_lock(lock, remove=True))
        except Tag2MaskError as error:
            error.replace_path(lock, out)
            raise
        with _replaced(out, place) as new:
            yield new


@contextmanager
def _replaced(out: Path, place: Path) -> Iterator[Path]:
    """Do the work of `replaced_folder`, which has the lock, in the place of ``out``."""
    new, old = (temporary_path(place, f"{place.name}-{which}") for which in ("new", "old"))
    try:
        with readable_os_errors(out):
            if old.is_dir() and not place.exists():
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
    except BaseException as error:
        if isinstance(error, Tag2MaskError):
            error.replace_path(new, out)
        shutil.rmtree(new, ignore_errors=True)
        with suppress(OSError):
            if old.is_dir() and not place.exists():
                old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _place(out: Path) -> Path:
    return out.resolve() if out.is_symlink() else out.absolute()
