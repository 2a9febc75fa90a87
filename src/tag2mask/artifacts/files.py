"""Atomic writes: a file is complete or absent, never half-written.

A full disk or a missing permission becomes a ``RunFolderError`` that says what to do.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tag2mask.artifacts.regular_file import open_regular
from tag2mask.errors import DataError, MissingFileError, RecipeError, RunFolderError
from tag2mask.text.json_text import parse_json

_TEMPORARY = ".tmp-"
_EXPLAINED = {
    errno.ENOSPC: (
        "the disk is full",
        "Free some space and run the same command again: it resumes.",
    ),
    errno.EDQUOT: (
        "the disk quota is used up",
        "Free some space and run the same command again: it resumes.",
    ),
    errno.EACCES: (
        "no permission to write",
        "Give a folder you may write to, or change its permissions.",
    ),
    errno.EPERM: (
        "no permission to write",
        "Give a folder you may write to, or change its permissions.",
    ),
    errno.EROFS: ("the file system is read-only", "Give a folder on a writable disk."),
    errno.EFBIG: (
        "the file would be larger than the system allows",
        "Raise the limit (`ulimit -f`), or give a folder on another disk. "
        "Then run the same command again: it resumes.",
    ),
    errno.EAGAIN: (
        "the system can't provide another process, thread or buffer now",
        "Raise the limit (`ulimit -u`) or lower runtime.workers and runtime.threads. "
        "Then run the same command again: it resumes.",
    ),
    errno.EMFILE: (
        "too many files are open",
        "Raise the limit (`ulimit -n`) or lower runtime.workers. "
        "Then run the same command again: it resumes.",
    ),
    errno.EIO: (
        "the disk reports an error",
        "Check the disk, or give a folder on another one.",
    ),
    errno.ENAMETOOLONG: ("the file name is too long", "Shorten the photo's file name or the path."),
    errno.ENOTDIR: ("a file is in the place of the folder", "Give another folder."),
    errno.EEXIST: ("a file is in the place of the folder", "Give another folder."),
    errno.EISDIR: ("a folder is in the place of the file", "Give the path of a file."),
    errno.ELOOP: (
        "a link is in the place of the file, or leads to itself",
        "Put the file itself in its place, or delete the link.",
    ),
}


_OF_WRITING = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
)
"""Errors whose explanation is only right where a file is being written."""


@contextmanager
def readable_os_errors(where: Path, *, only_inside: bool = False) -> Iterator[None]:
    """Turn a full disk or a missing permission into a RunFolderError.

    Args:
        where: the file or folder to name when the system's error names none.
        only_inside: re-raise errors that name a file outside of ``where`` unchanged.

    Raises:
        RunFolderError: instead of such an OSError; other errors are not changed.
    """
    try:
        yield
    except OSError as error:
        named = _named_file(error) or where
        if error.errno not in _EXPLAINED or (
            only_inside and not named.absolute().is_relative_to(where.absolute())
        ):
            raise
        what, fix = _EXPLAINED[error.errno]
        raise RunFolderError(what, where=named, fix=fix) from error


def _named_file(error: OSError) -> Path | None:
    """Return the file that a system error names, if any; some libraries give it as bytes."""
    name = error.filename
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) and name else None


def os_error_text(error: OSError) -> str:
    """Return what happened, where, and how to fix it if that is known, as one line."""
    what, fix = error.strerror or str(error), None
    if error.errno not in _OF_WRITING:
        what, fix = _EXPLAINED.get(error.errno or 0, (what, fix))
    return str(RunFolderError(what, where=_named_file(error), fix=fix))


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless it exists.

    Raises:
        RunFolderError: it can't be created.
    """
    with readable_os_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # as in /proc
            raise RunFolderError(
                "the folder can't be made", where=folder, fix="Give another folder."
            ) from error


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


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinity become null (see ``atomic_write``)."""
    write_text(path, json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        MissingFileError: missing.
        RunFolderError: unreadable or not JSON.
    """
    try:
        with open_regular(path) as file:
            return parse_json(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"{path.name} is missing",
            where=path.parent,
            fix="Run the step that writes this folder again.",
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"can't be read ({error.strerror})", where=path, fix="Check the file's permissions."
        ) from None
    except ValueError:
        raise RunFolderError(
            "not valid JSON", where=path, fix="Delete its folder and run the step again."
        ) from None


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


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


_DIGESTS: dict[tuple[int, int, int, int], str] = {}
"""Digests of this process, by device, inode, size and time of the file."""


def digest(file: Path) -> str:
    """Return the sha256 (hex) of a file's content, computed once per process and state of the file.

    Raises:
        RunFolderError: no permission to read it.
    """
    with readable_os_errors(file), file.open("rb") as content:
        stat = os.fstat(content.fileno())
        state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if state not in _DIGESTS:
            _DIGESTS[state] = hashlib.file_digest(content, "sha256").hexdigest()
        return _DIGESTS[state]


def file_digest(file: Path) -> str:
    """Return the sha256 (hex) of a file's content, for the many files that are read once.

    Raises:
        RunFolderError: no permission to read it.
    """
    with readable_os_errors(file), file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check_run_outside_data(data: Path, out: Path) -> None:
    """Check that a run's images won't be listed as photos of the data later.

    Raises:
        DataError: no data folder.
        RunFolderError: the run folder is inside it.
    """
    if not data.is_dir():
        raise DataError("no such data folder", where=data, fix="Correct --data.")
    if out.resolve().is_relative_to(data.resolve()):
        raise RunFolderError(
            "the run folder is inside the data folder",
            where=out,
            fix="Give an --out outside of --data.",
        )


def check_start_outside(setting: str, file: str | None, folder: Path) -> None:
    """Check that a training does not start from a network in the folder that it writes.

    With ``--redo`` the network would be deleted first.

    Args:
        setting: the recipe's key that names the network.
        file: the network; None: there is none.
        folder: the folder of the training step.

    Raises:
        RecipeError: the network is in the folder.
    """
    if file is not None and Path(file).resolve().is_relative_to(folder.resolve()):
        raise RecipeError(
            f"{setting} names a network in the folder that this training writes",
            where=file,
            fix="Give another --out; `tag2mask run --from RUN --out NEW` keeps RUN as it is.",
        )
