"""Files of a data folder: images, text files and the class list.

A folder is walked once with ``os.scandir``; 100,000 photos take about a second, since no photo is
opened. Symbolic links are followed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tag2mask.artifacts.manifest import MANIFEST, STARTED, read_identity
from tag2mask.classes import name_kind
from tag2mask.data.inventory import DataProblem, InventoryEntry
from tag2mask.data.layouts.folder_names import is_system_folder
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.splits import Split
from tag2mask.errors import DataError, RunFolderError, counted, first_few
from tag2mask.files.json_file import read_json
from tag2mask.files.stamps import file_stamp
from tag2mask.files.walking import Around, Visits
from tag2mask.formats.photo_names import PHOTO_SUFFIXES
from tag2mask.formats.text_files.text_lines import read_lines

MASK_FOLDER = "masks"
CLASS_LIST = "classes.txt"
PREDICTED, PREDICTED_MASKS = "predict.json", "masks"
"""The record of an exported ``predict.py`` in the folder that it writes to, and its masks there."""
BROKEN_LINK_ERRNOS = frozenset({errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG})
"""Error numbers of links to nothing, to themselves, or to a name that is too long."""
_FIRST_FOLDERS = 20


class FoundFile(NamedTuple):
    """A file on the disk."""

    path: str
    """Relative to the data folder, ``/`` as separator."""
    stamp: str
    """``<bytes>-<mtime_ns>``."""


def list_images(
    root: Path,
    under: str = "",
    *,
    skip: Collection[str] = (),
    broken_links: list[str] | None = None,
    other_files: list[str] | None = None,
    skipped_folders: list[str] | None = None,
) -> list[FoundFile]:
    """List the images below a folder, sorted by path.

    Names that begin with a dot are ignored, and so are system folders (``@eaDir``) and
    those that tag2mask or an exported ``predict.py`` wrote: their images are thumbnails and masks.

    Args:
        root: the data folder.
        under: folder inside ``root`` to list; a missing one gives an empty list.
        skip: paths of folders (relative to ``root``) not to enter.
        broken_links: extended by the paths of image links to nothing or to themselves.
        other_files: extended by the paths of files that are not images by their names.
        skipped_folders: extended by the paths of folders that are ignored, except hidden ones.

    Raises:
        DataError: a folder can't be read, or is nested or linked too often (see `Visits`).
    """
    found = _FoundFiles()
    start = root / under if under else root
    if start.is_dir():
        _walk(str(start), f"{under}/" if under else "", frozenset(skip), (), Visits(), found)
    for wanted, own in (
        (broken_links, found.broken_links),
        (other_files, found.other_files),
        (skipped_folders, found.skipped_folders),
    ):
        if wanted is not None:
            wanted += sorted(own)
    return sorted(found.images)


@dataclass
class _FoundFiles:
    """What a walk found."""

    images: list[FoundFile] = field(default_factory=list)
    broken_links: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    skipped_folders: list[str] = field(default_factory=list)

    def extend(self, other: _FoundFiles) -> None:
        """Append what is in one more folder."""
        self.images += other.images
        self.broken_links += other.broken_links
        self.other_files += other.other_files
        self.skipped_folders += other.skipped_folders


def _walk(
    folder: str,
    prefix: str,
    skip: frozenset[str],
    above: Around,
    visits: Visits,
    found: _FoundFiles,
) -> None:
    """Append the files below ``folder``, which is inside of those ``above``."""
    folders: list[tuple[str, str]] = []
    here = _FoundFiles()
    has_record = False
    try:
        around = visits.enter(folder, above)
        if around is None:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                suffix = os.path.splitext(name)[1]  # noqa: PTH122 - speed
                if suffix.lower() in PHOTO_SUFFIXES and is_file(entry):
                    here.images.append(FoundFile(prefix + name, file_stamp(entry.stat())))
                elif prefix + name not in skip and is_folder(entry):
                    if is_system_folder(name):
                        here.skipped_folders.append(prefix + name)
                    else:
                        folders.append((entry.path, f"{prefix}{name}/"))
                elif suffix.lower() in PHOTO_SUFFIXES and entry.is_symlink():
                    here.broken_links.append(prefix + name)
                elif is_file(entry):
                    has_record |= name in (MANIFEST, STARTED)
                    here.other_files.append(prefix + name)
    except PermissionError:
        raise DataError(
            "no permission to read the folder", where=folder, fix="Change its permissions."
        ) from None
    except OSError as error:  # a path that is too long, or a damaged disk
        raise DataError(
            f"the folder can't be read: {error.strerror}",
            where=folder,
            fix="Rename, repair or remove it.",
        ) from None
    may_be_output = has_record or prefix.endswith(f"{PREDICTED_MASKS}/")
    if above and may_be_output and is_output_folder(Path(folder)):
        found.skipped_folders.append(prefix.rstrip("/"))
        return
    found.extend(here)
    for path, inner in folders:
        _walk(path, inner, skip, around, visits, found)


def is_output_folder(folder: Path) -> bool:
    """Return whether a step of tag2mask or an exported ``predict.py`` wrote what is in a folder.

    A step has its folder for itself; ``predict.py`` writes into the folder ``masks`` of one that
    may have photos, too.
    """
    with suppress(RunFolderError):  # another program's manifest.json
        if read_identity(folder) is not None:
            return True
    if folder.name != PREDICTED_MASKS:
        return False
    with suppress(RunFolderError):
        record = read_json(folder.parent / PREDICTED)
        return isinstance(record, dict) and {"model", "decisions"} <= record.keys()
    return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder's entry is a file or a link to one; False for a broken link."""
    return _follow(entry.is_file)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder's entry is a folder or a link to one; False for a broken link."""
    return _follow(entry.is_dir)


def _follow(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError as error:
        if error.errno not in BROKEN_LINK_ERRNOS:
            raise
        return False


def subfolders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden and system folders."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not is_system_folder(e.name) and is_folder(e))


def first_folders(folder: Path) -> list[Path]:
    """Return a folder and the first of its `subfolders`, to recognize its layout by their files."""
    return [folder, *(folder / name for name in subfolders(folder)[:_FIRST_FOLDERS])]


def group_by_id(files: Iterable[FoundFile], prefix: str = "") -> dict[str, list[FoundFile]]:
    """Return the files below ``prefix`` by their path without prefix and suffix."""
    ids: dict[str, list[FoundFile]] = {}
    for file in files:
        if file.path.startswith(prefix):
            ids.setdefault(without_suffix(file.path[len(prefix) :]), []).append(file)
    return ids


def inventory_entry(
    id: str,
    split: Split,
    tags: tuple[str, ...],
    photo: FoundFile | None,
    mask: FoundFile | None,
    where: str,
) -> InventoryEntry:
    """Return the entry of a photo and its mask as they were found on the disk."""
    return InventoryEntry(
        id=id,
        split=split,
        tags=tags,
        where=where,
        image=photo.path if photo else None,
        stamp=photo.stamp if photo else "",
        mask=mask.path if mask else None,
        mask_stamp=mask.stamp if mask else "",
    )


def unmatched_masks(
    masks: Iterable[str], matched: Collection[str], ids: Iterable[str]
) -> list[DataProblem]:
    """Return a warning where masks (paths) belong to no photo, probably because of their names.

    It has the path that the first one should have if one of the photos (ids) has its name.
    """
    unmatched = [path for path in masks if path not in matched]
    if not unmatched:
        return []
    count = counted(len(unmatched), "mask matches", "masks match")
    message = f"{count} no photo: {first_few(unmatched)}; give each the name of its photo"
    named: dict[str, list[str]] = {}
    for id in ids:
        named.setdefault(PurePosixPath(id).name, []).append(id)
    for path in unmatched:
        found = named.get(PurePosixPath(without_suffix(path)).name, ())
        if len(found) == 1:
            wanted = f"{MASK_FOLDER}/{found[0]}{PurePosixPath(path).suffix}"
            message += f" and its folders: {wanted} instead of {path}"
            break
    return [DataProblem(message, warning=True)]


def read_class_list(root: Path) -> tuple[str, ...] | None:
    """Return the foreground classes of ``classes.txt``; None where the folder has none.

    Raises:
        DataError: as `read_class_file`.
    """
    path = root / CLASS_LIST
    return read_class_file(path) if path.is_file() else None


def read_class_file(path: Path) -> tuple[str, ...]:
    """Return the foreground classes of a list.

    The file has one name per line. Names of the background, of pixels to ignore and of unlabeled
    photos (see `name_kind`) are left out at its beginning and end.

    Raises:
        DataError: it can't be read, names no class, or has such a name between classes or a
            doubtful one in its first line: the numbers in masks would be uncertain.
    """
    names = [line.strip() for line in read_lines(path) if line.strip()]
    classes = [name for name in names if name_kind(name) in ("class", "nothing")]
    if not classes:
        raise DataError(
            f"{path.name} names no class",
            where=path,
            fix="Write one name per line, or remove the file.",
        )
    if name_kind(names[0]) == "nothing":
        raise DataError(
            f"{names[0]!r} in the first line may be a class or the background",
            where=path,
            fix="Write `background` instead of it, or above it if it is a class.",
        )
    first = names.index(classes[0])
    between = [n for n in names[first : first + len(classes)] if n not in classes]
    if between:
        raise DataError(
            f"{between[0]!r} is not a class but is listed between classes, so that its number in "
            "masks would become that of the next class",
            where=path,
            fix="Move it to the end, or remove it, and number the classes in masks 1, 2, ... in "
            "the order of the list; rename it if it is a class.",
        )
    return tuple(classes)
