"""Photos that tables, lists and JSON files name, looked up in the listing of a data folder.

A name that no file has may still mean one: tools drop suffixes or spell them differently, and case
and the encoding of accents (``ü`` as one or two characters) differ between systems. If exactly one
file differs only in these, it is the photo; otherwise the message names files with a similar name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.addresses import AddressedPhotos
from tag2mask.data.layouts.folder_names import folder_kind, is_system_folder
from tag2mask.data.layouts.ids import (
    LEADING_ZEROS,
    has_image_suffix,
    image_format,
    loose_name,
    without_suffix,
)
from tag2mask.data.layouts.listing import MASK_FOLDER, FoundFile, group_by_id, is_output_folder
from tag2mask.data.layouts.splits import split_in_name
from tag2mask.errors import counted, first_few
from tag2mask.formats.photo_names import PHOTO_SUFFIXES

_USUAL_FOLDERS = ("", "images/", "photos/", "JPEGImages/")


class PhotoLookup:
    """Finds the photos that a data folder's tables, lists or JSON files name.

    Args:
        root: the data folder.
        files: its images.
    """

    def __init__(self, root: Path, files: Sequence[FoundFile]) -> None:
        self.root = root
        self._files = files
        self._by_path = {file.path: file for file in files}
        self._by_id = group_by_id(files)
        top = {file.path.partition("/")[0] for file in files if "/" in file.path}
        self._folders = {f"{file.path.rpartition('/')[0]}/".lstrip("/") for file in files}
        other = [f"{name}/" for name in sorted(top) if folder_kind(name) == "photos"]
        other = [folder for folder in other if folder not in _USUAL_FOLDERS]
        self.usual_folders = _USUAL_FOLDERS + (tuple(other) if len(other) == 1 else ())
        """Folders to look in, each ending in "/" or empty."""
        self.split_folders: dict[str, tuple[str, ...]] = {}
        """Folders whose names have a split, by split: ``train_images/``."""
        for name in sorted(top):
            split = split_in_name(name)
            self.split_folders[split] = (*self.split_folders.get(split, ()), f"{name}/")
        self._guesses: dict[str, str] = {}

    @cached_property
    def _by_loose_id(self) -> dict[str, list[FoundFile]]:
        """The files by `_loose`; most data needs none."""
        return _grouped(self._files, _loose)

    @cached_property
    def _by_name(self) -> dict[str, list[FoundFile]]:
        """The files by `_name`."""
        return _grouped(self._files, _name)

    @cached_property
    def _addressed(self) -> AddressedPhotos:
        return AddressedPhotos(self._by_path)

    def by_address(self, address: str) -> str | None:
        """Return the path of the only photo that another tool's address means; None: none is."""
        found = self._addressed.find(address)
        return found[0] if len(found) == 1 else None

    def folders_of(self, names: Iterable[tuple[str, bool]]) -> tuple[str, ...]:
        """Return the folders that have files of all these names; none where one has several.

        Args:
            names: written paths or ids, and whether each has a suffix (see `find`).
        """
        folders: dict[str, None] = {}
        for written, is_path in names:
            same = self._by_name.get(_name(written), ())
            paths = [file.path if is_path else without_suffix(file.path) for file in same]
            inside = [path.removesuffix(written) for path in paths if path.endswith(f"/{written}")]
            if len(inside) > 1:
                return ()
            folders.update(dict.fromkeys(inside))
        return tuple(folders)

    def find(self, written: str, folders: Sequence[str], *, is_path: bool) -> list[FoundFile]:
        """Return the files that a written path or id may mean: one, none, or several.

        Args:
            written: the path or id in its plain form (see `normalize_path`).
            folders: to look in, the first that has it counts.
            is_path: whether ``written`` has a suffix.
        """
        for folder in folders:
            path = folder + written
            if is_path and path in self._by_path:
                return [self._by_path[path]]
            if not is_path and path in self._by_id:
                return self._by_id[path]
        for folder in folders:
            found = self._by_loose_id.get(_loose(folder + written), [])
            if has_image_suffix(written):  # a.png may be the mask of a.jpg
                found = [file for file in found if image_format(file.path) == image_format(written)]
            if found:
                if len(found) == 1:
                    self._guesses[written] = found[0].path
                return found
        return []

    def missing(self, id: str, written: str, folders: Sequence[str], where: str) -> DataProblem:
        """Return the problem of a photo that does not exist, with files of a similar name."""
        looked_in = [folder for folder in dict.fromkeys(folders) if folder in self._folders]
        places = " and ".join(folder or "the data folder" for folder in looked_in or [""])
        fix = self.similar(written) or "put the photo there or remove its line"
        return DataProblem(
            f"photo {id!r} {self._what(folders, written)} (looked for {PurePosixPath(written).name}"
            f" in {places}, named in {where}); {fix}",
            photo=id,
        )

    def similar(self, written: str) -> str:
        """Return the advice to use a file of a similar name; empty: there is none."""
        similar = self._by_name.get(_name(written), [])
        if not similar:
            return ""
        zeros = LEADING_ZEROS.search(similar[0].path.rpartition("/")[2])
        lost = zeros and not LEADING_ZEROS.search(written.rpartition("/")[2])
        spreadsheet = ", whose leading zeros a spreadsheet may have removed" if lost else ""
        paths = first_few((file.path for file in similar), 3)
        return f"there is {paths}{spreadsheet}: correct the name, or remove its line"

    def _what(self, folders: Sequence[str], written: str) -> str:
        """Return why a photo is not listed."""
        for folder in folders:
            path = self.root / folder / written
            try:
                if path.is_symlink() and not path.exists():
                    return "is a link to nothing"
                if path.is_file():
                    return _why_not_listed(self.root, folder + written)
            except OSError as error:  # a name that is too long
                return f"can't be looked for: {error.strerror}"
        return "does not exist"

    @property
    def remarks(self) -> tuple[str, ...]:
        """A remark on the photos that were found by another name than written."""
        if not self._guesses:
            return ()
        shown = first_few((f"{written} is {path}" for written, path in self._guesses.items()), 2)
        count = counted(len(self._guesses), "photo is", "photos are")
        return (f"{count} found by a similar name: {shown}",)


def ambiguous_photo(id: str, files: Sequence[FoundFile], where: str, fix: str) -> DataProblem:
    """Return the problem of an id that several photos have."""
    return DataProblem(
        f"{where}: id {id!r} matches several photos ({first_few(f.path for f in files)}); {fix}"
    )


def _why_not_listed(root: Path, path: str) -> str:
    """Return why a file that exists is not among the images."""
    if PurePosixPath(path).suffix.lower() not in PHOTO_SUFFIXES:
        return f"has the unknown suffix {PurePosixPath(path).suffix!r}"
    for part in path.split("/"):
        if part.startswith("."):
            return f"is hidden, since {part!r} begins with a dot; rename it"
        if is_system_folder(part):
            return f"is in {part!r}, a system folder; move it"
    outer = [*PurePosixPath(path).parents][:-1]
    if outer and outer[-1].name == MASK_FOLDER:
        return f"is in {MASK_FOLDER}/, which has masks; move it"
    if any(is_output_folder(root / folder) for folder in outer):
        return "is in a folder that tag2mask wrote; move it"
    return "is reached by a link to a folder above"


def _grouped(files: Iterable[FoundFile], key: Callable[[str], str]) -> dict[str, list[FoundFile]]:
    groups: dict[str, list[FoundFile]] = {}
    for file in files:
        groups.setdefault(key(file.path), []).append(file)
    return groups


def _loose(path: str) -> str:
    """Return a path without its suffix, its case and the encoding of its accents."""
    return loose_name(without_suffix(path))


def _name(path: str) -> str:
    """Return a file's name as `_loose` does, also without leading zeros of its numbers."""
    return LEADING_ZEROS.sub("", _loose(path).rpartition("/")[2])
