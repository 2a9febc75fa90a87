"""Files of masks and labels that have the name of their photo, but another suffix."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from tag2mask.files.walking import files_under

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".avif", ".heic", ".heif"}
)
"""Suffixes, in lower case, of the files that count as photos when a folder is listed.

Some builds of Pillow can't read the last three: such a photo is reported, not ignored.
"""


def stem_path(file_name: str) -> str:
    """Return a path without the suffix of its file."""
    return PurePosixPath(file_name).with_suffix("").as_posix()


def is_folder(path: Path) -> bool:
    """Return whether a path that a file names is a folder; False where it can't be a path."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a name is too long


def inner_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones."""
    if not is_folder(folder):
        return []
    with os.scandir(folder) as entries:  # one system call for all, where there are many photos
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def files_below(folder: Path, suffixes: Collection[str]) -> Iterator[str]:
    """Yield the paths of files below a folder, relative to it and sorted; not hidden ones.

    Links are followed.

    Raises:
        RunFolderError: no permission to read a folder.
    """
    if not is_folder(folder):
        return
    for relative in files_under(folder):
        path = PurePosixPath(relative)
        if path.suffix.lower() in suffixes and not any(p.startswith(".") for p in path.parts):
            yield relative


class PhotoNames:
    """Finds the photos that have the names of other files; each folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, str]] = {}

    def find(self, root: Path, path: str) -> str:
        """Return a photo's path with its suffix, where the photo exists; else the path itself.

        Args:
            root: folder that the path is relative to.
            path: of the photo without suffix.
        """
        folder, slash, stem = path.rpartition("/")
        names = self._names(root / folder)
        return f"{folder}{slash}{names.get(stem, stem)}"

    def _names(self, folder: Path) -> dict[str, str]:
        if folder not in self._folders:
            photos = sorted(folder.iterdir()) if is_folder(folder) else []
            self._folders[folder] = {
                path.stem: path.name for path in photos if path.suffix.lower() in PHOTO_SUFFIXES
            }
        return self._folders[folder]
