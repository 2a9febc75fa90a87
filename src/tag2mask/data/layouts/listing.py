"""Files of a data folder, and the ids that name them.

A folder is walked once with ``os.scandir``; 100,000 photos take about a second, since no photo is
opened. Symbolic links are followed. Whether a name would escape the folder is judged on the
written text, before any look at the disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.images import IMAGE_SUFFIXES
from tag2mask.data.inventory import DataProblem
from tag2mask.errors import DataError

LEADS_NOWHERE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors of links to nothing, to themselves, or to a name that no disk holds."""
_FILE_LIKE_FOLDER = re.compile(r"\.(?:png|jpg|npz)/")
"""Suffixes of what steps write of a photo, after its id."""
_DRIVE = re.compile(r"[A-Za-z]:")


class FoundFile(NamedTuple):
    """A file on the disk."""

    path: str
    """Relative to the data folder, ``/`` as separator."""
    stamp: str
    """``<bytes>-<mtime_ns>``."""


def list_files(
    root: Path,
    under: str = "",
    *,
    skip: Collection[str] = (),
    dangling: list[str] | None = None,
    others: list[str] | None = None,
) -> list[FoundFile]:
    """List the images below a folder, sorted by path.

    Names that begin with a dot are not looked at.

    Args:
        root: the data folder.
        under: folder inside ``root`` to list; an absent one gives an empty list.
        skip: paths of folders (relative to ``root``) not to enter.
        dangling: gets the paths of links to nothing (or to themselves), for layouts that name no
            photo elsewhere.
        others: gets the paths of files that are no images by their names, likewise.

    Raises:
        DataError: a folder may not or can't be read.
    """
    found: list[FoundFile] = []
    broken: list[str] = []
    passed: list[str] = []
    start = root / under if under else root
    if start.is_dir():
        _walk(str(start), f"{under}/" if under else "", frozenset(skip), (), found, broken, passed)
        found.sort()
    if dangling is not None:
        dangling += sorted(broken)
    if others is not None:
        others += sorted(passed)
    return found


def _walk(
    folder: str,
    prefix: str,
    skip: frozenset[str],
    above: tuple[tuple[int, int], ...],
    found: list[FoundFile],
    dangling: list[str],
    others: list[str],
) -> None:
    folders: list[tuple[str, str]] = []
    try:
        here = os.stat(folder)  # noqa: PTH116 - a Path a folder is not needed
        if (here.st_dev, here.st_ino) in above:
            return  # a link back to a folder above: it would never end
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                suffix = os.path.splitext(name)[1]  # noqa: PTH122 - speed
                if suffix.lower() in IMAGE_SUFFIXES and is_file(entry):
                    status = entry.stat()
                    stamp = f"{status.st_size}-{status.st_mtime_ns}"
                    found.append(FoundFile(prefix + name, stamp))
                elif prefix + name not in skip and is_folder(entry):
                    folders.append((entry.path, f"{prefix}{name}/"))
                elif suffix.lower() in IMAGE_SUFFIXES and entry.is_symlink():
                    dangling.append(prefix + name)
                elif is_file(entry):
                    others.append(prefix + name)
    except PermissionError:
        raise DataError(
            "no permission to read the folder", where=folder, fix="Change its permissions."
        ) from None
    except OSError as error:  # a path that is too long, or a damaged disk
        raise DataError(
            f"the folder can't be read: {error.strerror}",
            where=folder,
            fix="Rename, mend or remove it.",
        ) from None
    for path, inner in folders:
        _walk(path, inner, skip, (*above, (here.st_dev, here.st_ino)), found, dangling, others)


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a file or leads to one."""
    return _leads_there(entry.is_file)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a folder or leads to one."""
    return _leads_there(entry.is_dir)


def _leads_there(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError as error:
        if error.errno not in LEADS_NOWHERE:
            raise
        return False


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; names that begin with a dot or ``__`` left out."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            e.name for e in entries if not e.name.startswith((".", "__MACOSX")) and is_folder(e)
        )


def without_suffix(path: str) -> str:
    """A photo's path without the suffix; other suffixes are part of the name."""
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else path


def path_conflicts(ids: Collection[str]) -> list[tuple[str, str]]:
    """Photos that can't both be written of: one's file would bear the name of the other's folder.

    Of photos ``a`` and ``a.png/b`` the masks are ``a.png`` and ``a.png/b.png``.

    Returns:
        (id, id in a folder of that name) of each, sorted.
    """
    return sorted(
        (photo, id)
        for id in ids
        for found in _FILE_LIKE_FOLDER.finditer(id)
        if (photo := id[: found.start()]) in ids
    )


def by_id(files: Iterable[FoundFile], prefix: str = "") -> dict[str, list[FoundFile]]:
    """Files by their path without suffix, below ``prefix`` and without it."""
    ids: dict[str, list[FoundFile]] = {}
    for file in files:
        if file.path.startswith(prefix):
            ids.setdefault(without_suffix(file.path[len(prefix) :]), []).append(file)
    return ids


def written_path(text: str) -> tuple[str, str | None]:
    """Bring a written id or path to its plain form and judge it.

    Returns:
        The path with ``/`` as separator and without empty or ``.`` parts; and why it can't be used,
        or None.
    """
    text = text.strip().replace("\\", "/")
    if not text:
        return text, "is empty"
    if UNPRINTABLE.search(text):
        return text, "holds an unprintable character or is not UTF-8"
    if text.startswith("/") or _DRIVE.match(text):
        return text, "is absolute; write it relative to the data folder"
    if "." not in text and "//" not in text and not text.endswith("/"):
        return text, None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        return text, "leads out of the data folder ('..')"
    return ("/".join(parts), None) if parts else (text, "names no file")


def missing_photo(id: str, path: Path, where: str) -> DataProblem:
    """The problem of a photo that a table or list names but that isn't there."""
    what = "does not exist"
    try:
        if path.is_symlink():
            what = "is a link to nothing"
        elif path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
            what = "is reached by a link to a folder above"
        elif path.is_file():
            what = f"has the unknown suffix {path.suffix!r}"
    except OSError as error:  # a name that is too long
        what = f"can't be looked for: {error.strerror}"
    return DataProblem(
        f"photo {id!r} {what} (looked for {path.name}, named in {where}); put the photo "
        "there or remove its line",
        photo=id,
    )


def read_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it can't be read or is not UTF-8.
    """
    try:
        # Not splitlines(), which parts lines at characters that a name may hold.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise DataError("not UTF-8 text", where=path, fix="Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(
            f"can't be read: {error.strerror}",
            where=path,
            fix="Check the path and its permissions.",
        ) from None


def read_class_list(path: Path) -> tuple[str, ...]:
    """Foreground class names of a ``classes.txt``: one a line, an optional background first.

    Raises:
        DataError: it can't be read or names no class.
    """
    names = [line.strip() for line in read_lines(path) if line.strip()]
    if names and names[0].strip("_").lower() == "background":
        del names[0]
    if not names:
        raise DataError(
            f"{path.name} names no class",
            where=path,
            fix="Write one name a line, or remove the file.",
        )
    return tuple(names)
