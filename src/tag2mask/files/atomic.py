"""Atomic writes: a file is complete or absent, never half-written.

A full disk or a missing permission becomes a ``RunFolderError`` that says what to do.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tag2mask.errors import RunFolderError
from tag2mask.files.os_errors import make_folder, readable_os_errors

_TEMPORARY = ".tmp-"


def temporary_path(path: Path, name: str) -> Path:
    """Return a path beside ``path`` that `remove_temporary_files` removes."""
    return path.with_name(f"{_TEMPORARY}{name}{path.suffix}")


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix, which some writers depend on. Missing parent folders are
    created. On any exception the temporary file is removed, and an older ``path`` is unchanged.

    Args:
        path: the file to write.
        durable: flush it to the disk, so that it survives a power failure.

    Raises:
        RunFolderError: full disk, no permission, name too long; it names ``path``.
    """
    temporary = temporary_path(path, secrets.token_hex(6))
    try:
        with readable_os_errors(path):
            make_folder(path.parent)
            yield temporary
            if durable:
                _flush_to_disk(temporary)
            temporary.replace(path)
    except RunFolderError as error:
        error.replace_path(temporary, path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path, *, copy: bool = False) -> bool:
    """Link to a file, or copy it where the system has no symbolic links.

    Args:
        source: the file; its absolute path is linked to.
        target: where to put it; missing folders are created, a link to nothing is replaced.
        copy: copy it in any case.

    Returns:
        Whether it was copied.

    Raises:
        RunFolderError: full disk, no permission, name too long.
    """
    make_folder(target.parent)
    with readable_os_errors(target):
        target.unlink(missing_ok=True)
    if not copy:
        try:
            os.symlink(source.absolute(), target)  # noqa: PTH211 - Path's are the other way round
            return False
        except (OSError, NotImplementedError):  # Windows needs a right for it
            pass
    with atomic_write(target, durable=False) as temporary:
        shutil.copy2(source, temporary)
    return True


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file atomically (see ``atomic_write``)."""
    with atomic_write(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file atomically, with Unix line endings (see ``atomic_write``)."""
    write_bytes(path, content.encode("utf-8"))


def remove_temporary_files(folder: Path) -> None:
    """Remove files of killed writers; only while no other process writes in the folder."""
    for path in folder.rglob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            path.unlink()


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
