"""Folders that are written beside an earlier one and take its place at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tag2mask.artifacts.files import make_folder, readable_os_errors, temporary_path
from tag2mask.errors import RunFolderError, Tag2MaskError


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``out`` when the block succeeds.

    Until then an earlier ``out`` stays as it is; after an error or an interrupt, the new folder is
    deleted. At any moment the earlier one is in its place, or beside it with no other in its place,
    where `put_back` finds it. What a killed process left is removed by the next call.

    Args:
        out: the folder; of a link, the folder that it leads to is replaced.

    Raises:
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
    new = temporary_path(place, f"{place.name}-new")
    old = _earlier(place)
    make_folder(place.parent)
    put_back(out)
    try:
        with readable_os_errors(out):
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


def put_back(out: Path) -> None:
    """Put an earlier folder back that `replaced_folder` left beside its place when it was killed.

    Raises:
        RunFolderError: it can't be renamed.
    """
    place = _place(out)
    old = _earlier(place)
    if old.is_dir() and not place.exists():
        with readable_os_errors(out):
            old.rename(place)


def _place(out: Path) -> Path:
    return out.resolve() if out.is_symlink() else out.absolute()


def _earlier(place: Path) -> Path:
    """Return where the earlier folder is while the new one takes its place."""
    return temporary_path(place, f"{place.name}-old")
