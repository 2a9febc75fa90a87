"""Photos to predict: files, folders and patterns, listed with unique, relative and stable ids.

A photo's id is its path without suffix, relative to the folder that contains everything given; it
names the photo's mask. Folders are listed like data folders: by suffix, recursively, without hidden
ones. A file that is given by name is used whatever its suffix.
"""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.images import image_size
from tag2mask.data.layouts.ids import path_conflicts, without_suffix
from tag2mask.data.layouts.listing import BROKEN_LINK_ERRNOS, is_output_folder, list_images
from tag2mask.data.photos import size_changed
from tag2mask.errors import DataError
from tag2mask.files.stamps import file_stamp
from tag2mask.formats.photo_names import PHOTO_SUFFIXES

BROKEN_LINK = "0-0"
"""Stamp of a link to nothing or to itself."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """One photo that has not been opened.

    Attributes:
        id: relative path without suffix, ``/`` as separator; never absolute, no ``..``.
        path: the file.
        stamp: ``<bytes>-<mtime_ns>``, followed by a checksum of its path where the file was listed
            here; it differs for another photo.
        size: (h, w) px that it was listed with and must have; None: any.
        problem: why no mask can have its name; None: one can.
    """

    id: str
    path: Path
    stamp: str
    size: tuple[int, int] | None = None
    problem: str | None = None

    def current_size(self) -> tuple[int, int]:
        """Return the upright (h, w) in px from the file's header.

        Raises:
            DataError: missing, no photo, of another size than it was listed with, or with a name
                that no mask can have.
        """
        if self.problem is not None:
            raise DataError(self.problem, where=repr(str(self.path)), fix="Rename it.")
        size = image_size(self.path)
        if self.size not in (None, size):
            raise size_changed(self.path)
        return size


def list_photos(
    paths: Sequence[str | Path],
    *,
    leave_out: Path | None = None,
    skipped: list[str] | None = None,
) -> list[PhotoFile]:
    """List the photos of files, folders and patterns, each once, sorted by id.

    Args:
        paths: files, folders, or patterns (``*``, ``?``, ``[...]``, ``**`` for folders of any
            depth). Where two photos have the same name before the suffix, or a mask would have the
            name of a folder, the suffix becomes part of their ids. Folders of masks from earlier
            calls are skipped below the folders given.
        leave_out: a folder whose files are ignored, such as the one that masks are written to.
        skipped: extended by the paths of files that are not photos by their names, and of
            system folders and tag2mask's own, in the folders given.

    Raises:
        DataError: a path that doesn't exist, a pattern that matches nothing, or a folder without a
            photo.
    """
    found: dict[Path, str] = {}
    bases: list[Path] = []
    is_left_out = _is_inside(leave_out)
    others: set[Path] = set()
    for text in paths:
        base, listed = _files_of(text, others)
        files = {path: stamp for path, stamp in listed.items() if not is_left_out(path.parent)}
        if listed and not files:
            raise DataError(
                f"no photo except in {leave_out}, whose files are ignored",
                where=text,
                fix="Write to another folder (--out), one without photos.",
            )
        if not files:
            raise DataError(
                "no photo in the folder" if Path(text).is_dir() else "the pattern matches no photo",
                where=text,
                fix=f"Photos are files named {', '.join(sorted(PHOTO_SUFFIXES))}.",
            )
        bases.append(base)
        found.update(files)
    if not found:
        raise DataError("no photos given", fix="Name files, folders or patterns.")
    if skipped is not None:
        skipped += sorted(
            str(path)
            for path in others - found.keys()
            if not is_left_out(path.parent) and not (path.is_dir() and is_left_out(path))
        )
    root = Path(os.path.commonpath(bases))
    relative = {path: path.relative_to(root).as_posix() for path in found}
    ids = photo_ids(relative.values())
    return sorted(
        (
            PhotoFile(id, path, f"{found[path]}-{_checksum(path)}", problem=problem)
            for path, (id, problem) in ((path, ids[name]) for path, name in relative.items())
        ),
        key=lambda photo: photo.id,
    )


def photo_ids(names: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """Return the id of each relative path, and why no mask can have it; None: one can."""
    ids = _ids(names)
    blocked = {outer for outer, _ in path_conflicts(set(ids.values()))}
    return {name: (_printable(id), _problem(id, blocked)) for name, id in ids.items()}


def _problem(photo_id: str, blocked: Container[str]) -> str | None:
    """Return why no mask can have this id; ``blocked`` ids are names of folders."""
    if UNPRINTABLE.search(photo_id):
        return "the file name has characters that can't be printed"
    if "\\" in photo_id:
        return "the file name has a backslash"
    return "a folder has the name of its mask" if photo_id in blocked else None


def _printable(photo_id: str) -> str:
    """Return an id with escapes for characters that an id must not have."""
    return repr(photo_id)[1:-1] if _problem(photo_id, ()) else photo_id


def _files_of(text: str | Path, others: set[Path]) -> tuple[Path, dict[Path, str]]:
    """Return the folder that ids are relative to, and the files (absolute) with their stamps.

    ``others`` is extended by skipped files and folders.
    """
    path = _absolute(Path(text))
    # os.path, not Path, which raises for a name that is too long.
    if os.path.isdir(path):  # noqa: PTH112
        return path, _files_below(path, others)
    if os.path.isfile(path):  # noqa: PTH113
        return path.parent, {path: _stamp(path)}
    if not glob.has_magic(str(text)):
        raise DataError("no such photo or folder", where=text, fix="Correct the path.")
    base = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    files: dict[Path, str] = {}

    @cache
    def output_around(folder: Path) -> Path | None:
        if base not in folder.parents:
            return None
        return folder if is_output_folder(folder) else output_around(folder.parent)

    for name in _matches(str(text)):
        match = _absolute(Path(name))
        is_folder = os.path.isdir(match)  # noqa: PTH112
        output = output_around(match if is_folder else match.parent)
        if output is not None:
            others.add(output)
        elif is_folder:
            files |= _files_below(match, others)
        elif match.suffix.lower() in PHOTO_SUFFIXES and (match.is_symlink() or match.is_file()):
            files[match] = _stamp(match)
        else:
            others.add(match)
    return base, files


def _matches(pattern: str) -> list[str]:
    """Return the files and folders that match a pattern."""
    try:
        return glob.glob(pattern, recursive=True)  # noqa: PTH207 - of any root
    except RecursionError:  # the walk is glob's own
        raise DataError(
            "the pattern leads through hundreds of folders inside each other",
            where=pattern,
            fix="Move their photos up, or the folders away.",
        ) from None


def _is_inside(outer: Path | None) -> Callable[[Path], bool]:
    """Return the test whether a folder is another one or in it, whatever links lead there."""
    real = None if outer is None else os.path.realpath(outer)
    return cache(
        lambda folder: real is not None and Path(os.path.realpath(folder)).is_relative_to(real)
    )


def _files_below(folder: Path, others: set[Path]) -> dict[Path, str]:
    """Return the images below a folder with their stamps, broken links included.

    ``others`` is extended by skipped files and folders.
    """
    broken_links: list[str] = []
    skipped: list[str] = []
    images = list_images(
        folder, broken_links=broken_links, other_files=skipped, skipped_folders=skipped
    )
    others.update(folder / name for name in skipped)
    found = {folder / image.path: image.stamp for image in images}
    return found | {folder / name: BROKEN_LINK for name in broken_links}


def _ids(names: Iterable[str]) -> dict[str, str]:
    """Return each path's id: without suffix, unless two would be equal or in conflict on disk."""
    ids = {name: without_suffix(name) for name in names}
    while True:
        ambiguous = {i for i, count in Counter(ids.values()).items() if count > 1}
        ambiguous |= {outer for outer, _ in path_conflicts(set(ids.values()))}
        with_suffix = {name: name for name, i in ids.items() if i in ambiguous and i != name}
        if not with_suffix:
            return ids
        ids |= with_suffix


def _absolute(path: Path) -> Path:
    """Return a path without ``..``; links are not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _checksum(path: Path) -> str:
    """Return a checksum of the path: photos of two folders may agree in name, size and time."""
    return f"{zlib.crc32(os.fsencode(path)):08x}"


def _stamp(path: Path) -> str:
    """Return a file's stamp, `BROKEN_LINK` for a link to nothing."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in BROKEN_LINK_ERRNOS:
            raise
        return BROKEN_LINK
    return file_stamp(status)
