"""Deleting step folders, so that their steps run again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tag2mask.artifacts.handles import Handle
from tag2mask.artifacts.identity import DELETED
from tag2mask.artifacts.manifest import MANIFEST, STARTED, not_of_step, read_identity
from tag2mask.errors import RunFolderError
from tag2mask.files.json_file import write_json
from tag2mask.files.lock import LOCK, folder_lock
from tag2mask.files.os_errors import readable_os_errors


def recorded_seconds(folders: Sequence[tuple[type[Handle], Path]]) -> dict[str, float]:
    """Return the time that each step took whose folder a deletion would remove, by its name.

    Raises:
        RunFolderError: a folder is not of its step, or damaged.
    """
    seconds = {}
    for kind, folder in folders:
        if folder.exists():
            check_removable(kind, folder)
            found = read_identity(folder)
            if found is not None and found.identity != DELETED:
                seconds[kind.step] = found.seconds
    return seconds


def remove_step_folder(kind: type[Handle], path: Path | str) -> None:
    """Delete a step's folder, complete or partial, so that the step runs again.

    An interrupted deletion is continued by this function, and by ``step_folder``.

    Raises:
        RunFolderError: the folder is not of this step, is in use by another process, or can't be
            deleted.
    """
    folder = Path(path)
    if not folder.exists():
        return
    check_removable(kind, folder)
    with folder_lock(folder, remove=True):
        check_removable(kind, folder)  # another process may have written it meanwhile
        with readable_os_errors(folder):
            _empty(folder)


def check_removable(kind: type[Handle], folder: Path) -> None:
    """Check that a folder is of a step, or empty.

    Raises:
        RunFolderError: it is of another step, or holds other files.
    """
    found = read_identity(folder)
    if found is None:
        check_not_foreign(folder, kind)
    elif found.step != kind.step:
        raise not_of_step(found, f"{kind.step}; not deleted", folder, "Correct the path.")


def _empty(folder: Path) -> None:
    """Delete everything in a folder except its lock; the record of the deletion goes last."""
    found = read_identity(folder)
    if found is not None:
        marked = found.model_copy(update={"identity": DELETED})
        with suppress(RunFolderError):  # a full disk: it may be what the deletion is for
            write_json(folder / STARTED, marked.model_dump(mode="json"))
        (folder / MANIFEST).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in (LOCK, STARTED):
            entry.unlink()
    (folder / STARTED).unlink(missing_ok=True)


def check_not_foreign(folder: Path, kind: type[Handle]) -> None:
    """Check that a path isn't a file or a folder with files that no step wrote."""
    if not folder.is_dir():
        raise RunFolderError(
            "a file is in the place of the folder", where=folder, fix="Give another --out."
        )
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunFolderError(
            f"the folder holds other files, but no {MANIFEST} of {kind.step}",
            where=folder,
            fix=f"If its {MANIFEST} was lost, delete the folder and run the same command again. "
            "Else give another --out, or an empty folder.",
        )
