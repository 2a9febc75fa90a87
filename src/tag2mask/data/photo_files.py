"""Photos from anywhere: files, folders and patterns -> ids that are unique, relative and stable.

A photo's id is its path without suffix, relative to the folder that all that was given lies in; it
names the photo's mask. Folders are listed as data folders are: by suffix, in all folders inside,
hidden ones left out. A file that was named is taken whatever its suffix.
"""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.images import IMAGE_SUFFIXES, image_size
from tag2mask.data.layouts.listing import LEADS_NOWHERE, list_files, path_conflicts, without_suffix
from tag2mask.errors import DataError

MISSING = "0-0"
"""Stamp of a link to nothing, or to itself."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """One photo, not opened yet.

    Attributes:
        id: relative path without suffix, ``/`` as separator; never absolute, no ``..``.
        path: of the file.
        stamp: ``<bytes>-<mtime_ns>``, of a listed file also a checksum of its path: tells whether
            the photo is another one.
        size: (h, w) that it must have, as it was listed with; None: any.
        problem: why its name can't be a mask's; None: it can.
    """

    id: str
    path: Path
    stamp: str
    size: tuple[int, int] | None = None
    problem: str | None = None

    def is_another(self, stamp: str) -> bool:
        """Whether the listed file that bore this stamp lay somewhere else, by its path."""
        return self.stamp.rpartition("-")[2] != stamp.rpartition("-")[2]

    def current_size(self) -> tuple[int, int]:
        """(h, w) px, upright, from the file's header.

        Raises:
            DataError: missing, no photo, of another size than it was listed with, or with a name
                that no mask can have.
        """
        if self.problem is not None:
            raise DataError(self.problem, where=repr(str(self.path)), fix="Rename it.")
        size = image_size(self.path)
        if self.size not in (None, size):
            raise DataError(
                "photo is of another size than when it was listed",
                where=self.path,
                fix="Run `tag2mask run --update`, or `tag2mask prepare --update`.",
            )
        return size


def list_photos(wanted: Sequence[str | Path], *, leave_out: Path | None = None) -> list[PhotoFile]:
    """List the photos that files, folders and patterns name, each once, sorted by id.

    Args:
        wanted: paths of files or folders, or patterns (``*``, ``?``, ``[...]``, ``**`` for folders
            of any depth). Where the name before the suffix is not enough to tell photos apart, or
            to tell a mask from a folder, the suffix becomes part of their ids.
        leave_out: a folder whose files are no photos, such as the one that masks are written to.

    Raises:
        DataError: a path that doesn't exist, a pattern that matches nothing, or a folder without a
            photo.
    """
    found: dict[Path, str] = {}
    bases: list[Path] = []
    hidden = None if leave_out is None else _absolute(leave_out)
    for text in wanted:
        base, listed = _files_of(text)
        files = {
            path: stamp
            for path, stamp in listed.items()
            if hidden is None or not path.is_relative_to(hidden)
        }
        if listed and not files:
            raise DataError(
                f"no photo but in {leave_out}, whose files are left out",
                where=text,
                fix="Write to another folder (--out), one without photos.",
            )
        if not files:
            raise DataError(
                "no photo in the folder" if Path(text).is_dir() else "the pattern matches no photo",
                where=text,
                fix=f"Photos are files named {', '.join(sorted(IMAGE_SUFFIXES))}.",
            )
        bases.append(base)
        found.update(files)
    if not found:
        raise DataError("no photos given", fix="Name files, folders or patterns.")
    root = Path(os.path.commonpath(bases))
    relative = {path: path.relative_to(root).as_posix() for path in found}
    ids = _ids(relative.values())
    blocked = {outer for outer, _ in path_conflicts(set(ids.values()))}
    return sorted(
        (
            PhotoFile(
                _printable(ids[name]),
                path,
                f"{found[path]}-{_checksum(path)}",
                problem=_problem(ids[name], blocked),
            )
            for path, name in relative.items()
        ),
        key=lambda photo: photo.id,
    )


def _problem(photo_id: str, blocked: Container[str]) -> str | None:
    if UNPRINTABLE.search(photo_id):
        return "the file name has characters that can't be printed"
    if "\\" in photo_id:
        return "the file name has a backslash"
    return "a folder has the name of its mask" if photo_id in blocked else None


def _printable(photo_id: str) -> str:
    """With escapes in place of what a name must not have."""
    return repr(photo_id)[1:-1] if _problem(photo_id, ()) else photo_id


def _files_of(text: str | Path) -> tuple[Path, dict[Path, str]]:
    """The folder that names are relative to, and the files (absolute) with their stamps."""
    path = _absolute(Path(text))
    # os.path, not Path: there a name too long for the disk is none, here it raises.
    if os.path.isdir(path):  # noqa: PTH112
        return path, _inside(path)
    if os.path.isfile(path):  # noqa: PTH113
        return path.parent, {path: _stamp(path)}
    if not glob.has_magic(str(text)):
        raise DataError("no such photo or folder", where=text, fix="Correct the path.")
    files: dict[Path, str] = {}
    for name in glob.iglob(str(text), recursive=True):  # noqa: PTH207 - of any root
        match = _absolute(Path(name))
        if os.path.isdir(match):  # noqa: PTH112
            files |= _inside(match)
        elif match.suffix.lower() in IMAGE_SUFFIXES and (match.is_symlink() or match.is_file()):
            files[match] = _stamp(match)
    plain = [*takewhile(lambda part: not glob.has_magic(part), path.parts)]
    return Path(*plain), files


def _inside(folder: Path) -> dict[Path, str]:
    """Files below a folder with their stamps; links to nothing too, which can't be read."""
    dangling: list[str] = []
    found = {folder / file.path: file.stamp for file in list_files(folder, dangling=dangling)}
    return found | {folder / name: MISSING for name in dangling}


def _ids(names: Iterable[str]) -> dict[str, str]:
    """Id of each path: without its suffix, unless that leaves two alike or in each other's way."""
    ids = {name: without_suffix(name) for name in names}
    while True:
        unclear = {i for i, count in Counter(ids.values()).items() if count > 1}
        unclear |= {outer for outer, _ in path_conflicts(set(ids.values()))}
        longer = {name: name for name, i in ids.items() if i in unclear and i != name}
        if not longer:
            return ids
        ids |= longer


def _absolute(path: Path) -> Path:
    """Without ``..``, links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _checksum(path: Path) -> str:
    """Of the path: photos of two folders may agree in name, size and time."""
    return f"{zlib.crc32(os.fsencode(path)):08x}"


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in LEADS_NOWHERE:
            raise
        return MISSING
    return f"{status.st_size}-{status.st_mtime_ns}"
