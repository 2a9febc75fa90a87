"""Files of a data folder, and the ids that name them.

A folder is walked once with ``os.scandir``; 100,000 photos take about a second, since no photo is
opened. Symbolic links are followed. Whether a name would escape the folder is judged on the
written text, before any look at the disk.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tag2mask.classes import nearest_hint
from tag2mask.data.images import IMAGE_SUFFIXES
from tag2mask.data.samples import Problem, SourceOptions, Split
from tag2mask.errors import DataError

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_FILE_LIKE_FOLDER = re.compile(r"\.(?:png|jpg|npz)/")
"""Suffixes of what steps write of a photo, after its id."""
_DRIVE = re.compile(r"[A-Za-z]:")


class FoundFile(NamedTuple):
    """A file on the disk."""

    path: str
    """Relative to the data folder, ``/`` as separator."""
    stamp: str
    """``<bytes>-<mtime_ns>``."""


def list_files(root: Path, under: str = "", *, skip: Collection[str] = (),
               dangling: list[str] | None = None,
               others: list[str] | None = None) -> list[FoundFile]:
    """List the images below a folder, sorted by path.

    Names that begin with a dot are not looked at.

    Args:
        root: the data folder.
        under: folder inside ``root`` to list; an absent one gives an empty list.
        skip: paths of folders (relative to ``root``) not to enter.
        dangling: gets the paths of links to nothing, for layouts that name no photo elsewhere.
        others: gets the paths of files that are no images by their names, likewise.

    Raises:
        DataError: a folder may not be read.
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


def _walk(folder: str, prefix: str, skip: frozenset[str], above: tuple[tuple[int, int], ...],
          found: list[FoundFile], dangling: list[str], others: list[str]) -> None:
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
                if suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                    status = entry.stat()
                    stamp = f"{status.st_size}-{status.st_mtime_ns}"
                    found.append(FoundFile(prefix + name, stamp))
                elif prefix + name not in skip and entry.is_dir():
                    folders.append((entry.path, f"{prefix}{name}/"))
                elif suffix.lower() in IMAGE_SUFFIXES and entry.is_symlink():
                    dangling.append(prefix + name)
                elif entry.is_file():
                    others.append(prefix + name)
    except PermissionError:
        raise DataError("no permission to read the folder", where=folder,
                        fix="Change its permissions.") from None
    for path, inner in folders:
        _walk(path, inner, skip, (*above, (here.st_dev, here.st_ino)), found, dangling,
              others)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; names that begin with a dot or ``__`` left out."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries
                      if not e.name.startswith((".", "__MACOSX")) and e.is_dir())


def without_suffix(path: str) -> str:
    """A photo's path without the suffix; other suffixes are part of the name."""
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else path


def in_the_way(ids: Collection[str]) -> list[tuple[str, str]]:
    """Photos that can't both be written of: one's file would bear the name of the other's folder.

    Of photos ``a`` and ``a.png/b`` the masks are ``a.png`` and ``a.png/b.png``.

    Returns:
        (id, id in a folder of that name) of each, sorted.
    """
    return sorted((photo, id) for id in ids for found in _FILE_LIKE_FOLDER.finditer(id)
                  if (photo := id[:found.start()]) in ids)


def by_id(files: Iterable[FoundFile], prefix: str = "") -> dict[str, list[FoundFile]]:
    """Files by their path without suffix, below ``prefix`` and without it."""
    ids: dict[str, list[FoundFile]] = {}
    for file in files:
        if file.path.startswith(prefix):
            ids.setdefault(without_suffix(file.path[len(prefix):]), []).append(file)
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


def missing_photo(id: str, path: Path, where: str) -> Problem:
    """The problem of a photo that a table or list names but that isn't there."""
    what = "does not exist"
    if path.is_symlink():
        what = "is a link to nothing"
    elif path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        what = "is reached by a link to a folder above"
    elif path.is_file():
        what = f"has the unknown suffix {path.suffix!r}"
    return Problem(f"photo {id!r} {what} (looked for {path.name}, named in {where}); put the photo "
                   "there or remove its line", photo=id)


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
        raise DataError(f"can't be read: {error.strerror}", where=path,
                        fix="Check the path and its permissions.") from None


def read_class_list(path: Path) -> tuple[str, ...]:
    """Foreground class names of a ``classes.txt``: one a line, an optional background first.

    Raises:
        DataError: it can't be read.
    """
    names = [line.strip() for line in read_lines(path) if line.strip()]
    if names and names[0].strip("_").lower() == "background":
        del names[0]
    return tuple(names)


class ListedPhoto(NamedTuple):
    """One line of a split list."""

    id: str
    mask: str | None
    where: str


def read_id_list(path: Path) -> tuple[list[ListedPhoto], list[Problem]]:
    """Read a text file of ids, one a line.

    Of a line of VOC's class lists (``2007_000032 -1``) the id counts, not the number: tags come
    from elsewhere. A line may also be a photo's path, and may name its mask in a second column, as
    psa's lists do (``/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png``): there a
    leading slash means the data folder.

    Returns:
        The listed photos (paths still with their folders, suffixes removed), and the problems.

    Raises:
        DataError: it can't be read.
    """
    photos: list[ListedPhoto] = []
    problems: list[Problem] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        photo, mask = _columns(line)
        if mask is not None or photo.startswith("/JPEGImages/"):
            photo = photo.lstrip("/")
        texts = (photo,) if mask is None else (photo, mask.lstrip("/"))
        plain: list[str] = []
        for text in texts:
            written, problem = written_path(text)
            if problem:
                problems.append(Problem(f"{where}: {text!r} {problem}"))
            else:
                plain.append(written)
        if len(plain) == len(texts):
            photos.append(ListedPhoto(without_suffix(plain[0]),
                                      plain[1] if len(plain) > 1 else None, where))
    return photos, problems


def _columns(line: str) -> tuple[str, str | None]:
    """Photo and mask of a list's line; a name may hold spaces, so both must look like paths."""
    match = re.fullmatch(r"\s*(\S.*\.\w+)\s+(\S.*\.png)\s*", line, re.IGNORECASE)
    if match:
        return match[1], match[2]
    of_class = re.fullmatch(r"\s*(\S+)\s+(?:-1|0|1)\s*", line)
    return (of_class[1] if of_class else line.strip()), None


def find_list(root: Path, name: str) -> Path | None:
    """The text file that a split setting names, looked for in the data folder and from here."""
    if not name.endswith(".txt"):
        return None
    for candidate in (root / name, Path(name)):
        if candidate.is_file():
            return candidate
    raise DataError(f"no list of ids {name!r}", where=root,
                    fix="Give the path of a text file with one id a line.")


class SplitRule:
    """Decides a photo's split from what its source wrote, or from lists of ids.

    Args:
        root: the data folder.
        options: the wanted splits.

    Raises:
        DataError: a list is missing or can't be read.
    """

    def __init__(self, root: Path, options: SourceOptions) -> None:
        self._names: dict[str, Split] = {}
        self._listed: dict[str, Split] = {}
        self._wheres: dict[str, str] = {}
        self._problems: list[Problem] = []
        self.train_is_listed = False
        self._not_asked_for: Counter[str] = Counter()
        self._met: set[str] = set()
        for split, wanted in (("train", options.train_split), ("val", options.val_split)):
            side: Split = "train" if split == "train" else "val"
            path = None if wanted is None else find_list(root, wanted)
            if path is None:
                if wanted is not None:
                    self._names.setdefault(wanted, side)
                continue
            self.train_is_listed |= side == "train"
            photos, problems = read_id_list(path)
            self._problems += problems
            for photo in photos:
                if photo.id in self._listed:
                    self._problems.append(Problem(
                        f"{photo.where}: photo {photo.id!r} is listed twice "
                        f"(also in {self._wheres[photo.id]}); remove one of the two"))
                self._listed[photo.id] = side
                self._wheres[photo.id] = photo.where

    def split_of(self, id: str, written: str = "") -> Split | None:
        """Split of a photo, or None where it takes part in none.

        Args:
            id: the photo.
            written: the split its source gives; empty: training, unless training is a list.
        """
        listed = self._listed.get(id)
        if listed is not None:
            return listed
        if not written:
            return None if self.train_is_listed else "train"
        split = self._names.get(written)
        self._met.add(written)
        if split is None:
            self._not_asked_for[written] += 1
        return split

    def problems(self, known: Collection[str]) -> list[Problem]:
        """What is wrong with the lists and the written splits, once every photo was asked about.

        Args:
            known: ids that the data holds.
        """
        unknown = [Problem(f"{self._wheres[id]}: photo {id!r} is not in the data; remove its line",
                           photo=id)
                   for id in self._listed if id not in known]
        return [*self._problems, *self._unmet(), *self._left_out(), *unknown]

    def _unmet(self) -> list[Problem]:
        """A validation split by a name of its own that no photo has; by the usual one it may."""
        return [Problem(f"no photo of split {name!r}{nearest_hint(name, self._not_asked_for)}; set "
                        "prepare.val_split to one that there is, or to null for none")
                for name, side in self._names.items()
                if side == "val" and name not in {SourceOptions().val_split, *self._met}]

    def _left_out(self) -> list[Problem]:
        """A warning where photos take no part because of their split, ``test`` apart."""
        said = [f"{count} of split {name!r}{nearest_hint(name, self._names)}"
                for name, count in self._not_asked_for.items() if name != "test"]
        return [Problem(f"photos that take no part: {', '.join(said)} (mend the name, or set "
                        "prepare.train_split or prepare.val_split to it)",
                        warning=True)] if said else []


def some(names: Iterable[str], count: int = 5) -> str:
    """The first few names, and how many more there are."""
    iterator = iter(names)
    shown = list(islice(iterator, count))
    more = sum(1 for _ in iterator)
    return ", ".join(shown) + (f" and {more} more" if more else "")
