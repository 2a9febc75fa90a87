"""Repeating steps: their earlier results are kept until the first new one has begun.

The earlier files wait in a hidden folder inside the step's own, which also works for the root of a
volume and for links. They are deleted when the repeated step ends, complete or with work that can
be resumed; where it ends before, they are put back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tag2mask.artifacts.deletion import check_removable
from tag2mask.artifacts.handles import Handle
from tag2mask.artifacts.identity import DELETED, holds_work
from tag2mask.artifacts.manifest import MANIFEST, STARTED, Manifest, read_identity
from tag2mask.errors import FolderInUseError
from tag2mask.files.lock import LOCK, folder_lock
from tag2mask.files.os_errors import readable_os_errors

KEPT = ".before-redo"
"""Holds the earlier files of a step that is being repeated."""
_MOVING = ".before-redo-moving"
"""Holds some of them, while they are moved; the others are still or again in their place."""


@contextmanager
def redone_folder(kind: type[Handle], folder: Path) -> Iterator[None]:
    """Repeat a step inside the block as if its folder were empty.

    Args:
        kind: the step.
        folder: its folder, which need not exist. If the block ends with neither a complete step nor
            work that can be resumed, it is as before.

    Raises:
        RunFolderError: the folder is not of this step, is in use by another process, or can't be
            written.
    """
    with redone_steps([(kind, folder)]):
        yield


@contextmanager
def redone_steps(folders: Sequence[tuple[type[Handle], Path]]) -> Iterator[None]:
    """Repeat several steps inside the block, as `redone_folder`; the first one decides for all.

    If it ends complete or with work that can be resumed, the earlier results of the later ones,
    which were made from its earlier result, are deleted; else all are as before.

    Args:
        folders: at least one step with its folder, in order.

    Raises:
        RunFolderError: as `redone_folder`, of any folder.
    """
    existing = [(kind, folder) for kind, folder in folders if folder.exists()]
    for kind, folder in existing:
        put_back_moved(folder)  # of a killed process
        check_removable(kind, folder)
    try:
        with ExitStack() as locks:
            for _, folder in existing:
                locks.enter_context(folder_lock(folder, remove=True))
            keep_new = _is_worth_keeping(folders[0][1])
            for kind, folder in existing:
                _end_redo(folder, keep_new)  # of a killed process
                check_removable(kind, folder)  # another process may have written it meanwhile
            for _, folder in reversed(existing):
                _set_aside(folder)
        yield
    finally:
        keep_new = _is_worth_keeping(folders[0][1])
        for _, folder in existing:
            if (folder / KEPT).is_dir():
                with suppress(FolderInUseError), folder_lock(folder, remove=True):
                    _end_redo(folder, keep_new)
            with suppress(OSError):
                folder.rmdir()  # if it is empty


def put_back_moved(folder: Path) -> None:
    """Put the files back that a killed process was moving away, or back.

    Raises:
        RunFolderError: the process is alive, or the files can't be moved.
    """
    if (folder / _MOVING).is_dir():
        with folder_lock(folder):
            _put_back(folder)


def delete_kept(folder: Path) -> None:
    """Delete the earlier files: the new ones are complete."""
    shutil.rmtree(folder / KEPT, ignore_errors=True)


def _set_aside(folder: Path) -> None:
    """Move all files away; the records go first, so that the rest never passes for complete."""
    found = read_identity(folder)
    if found is None or found.identity == DELETED:
        return
    moving = folder / _MOVING
    with readable_os_errors(folder):
        for place in (moving, folder / KEPT):
            place.unlink(missing_ok=True)  # a link in a folder that was received
        moving.mkdir()
        for name in _records_first(folder):
            (folder / name).rename(moving / name)
        moving.rename(folder / KEPT)


def _is_worth_keeping(folder: Path) -> bool:
    """Return whether a folder holds a complete step, or work that can be resumed."""
    return isinstance(read_identity(folder), Manifest) or holds_work(folder)


def _end_redo(folder: Path, keep_new: bool) -> None:
    """Delete the earlier files if the new ones are worth keeping; else put them back."""
    if not _is_own_folder(folder / KEPT):
        return
    if keep_new:
        delete_kept(folder)
        return
    with readable_os_errors(folder):
        for name in _records_first(folder):
            _delete(folder / name)
        (folder / KEPT).rename(folder / _MOVING)
    _put_back(folder)


def _put_back(folder: Path) -> None:
    moving = folder / _MOVING
    if not _is_own_folder(moving):  # another process was faster
        return
    with readable_os_errors(folder):
        for name in reversed(_records_first(moving)):
            (moving / name).rename(folder / name)
        moving.rmdir()


def _records_first(folder: Path) -> list[str]:
    """Return the names of a folder's entries, but for the lock and the earlier files."""
    names = {entry.name for entry in folder.iterdir()} - {LOCK, KEPT, _MOVING}
    return sorted(names, key=lambda name: (name not in (MANIFEST, STARTED), name))


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _delete(path: Path) -> None:
    if _is_own_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink()
