"""Files: photos in, masks out, and which masks are written."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import secrets
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from tag2mask.segmentation.standalone.photos import Array

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}
    | {".pgm", ".avif", ".heic", ".heif"}
)
"""Suffixes of photos in folders."""
SYSTEM = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle"}
    | {"@recently-snapshot", "$recycle.bin", "system volume information", "lost+found"}
)
"""Folders that systems make for themselves."""
MAX_LEVELS = 100
"""Levels of folders that are entered, and how often links may lead to one of them."""
STEP_RECORDS = ("manifest.json", "started.json")
"""Files that tag2mask writes into the folder of a step, which has nothing else in it."""
STEP_KEYS = {"step", "identity", "fingerprint"}
RECORD, MASKS = "predict.json", "masks"
"""The file and the folder that this program writes beside whatever else is in ``--out``."""
UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\\]")
"""Characters that no photo's id may have: a table has one photo per line."""
ANOTHER = "another photo of this name has a mask in --out; rename it, or give another --out"
"""Why a photo is left out whose name repeats that of another."""

Found = tuple[Path, str]
"""A file, and why it can't be read; empty: nothing is known against it."""


class Photo(NamedTuple):
    """A photo: its id, which names its mask, its file, and a stamp that changes with it.

    With a ``problem`` it is a file or folder that can't be read, for this reason.
    """

    id: str
    path: Path
    stamp: str
    problem: str = ""


def photo_of(id: str, path: Path, problem: str) -> Photo:
    """Return a photo with the stamp ``<bytes>-<mtime_ns>-<checksum of the path>``.

    The stamp of a link to nothing is empty. A name that tag2mask gives no mask is a problem, too.
    """
    if UNUSABLE.search(id):
        problem = problem or "no mask can have this name; rename it"
    try:
        status = path.stat()
    except OSError:
        return Photo(id, path, "", problem)
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
        problem = problem or "it is a pipe or a device, no photo"
    stamp = f"{status.st_size}-{status.st_mtime_ns}-{zlib.crc32(os.fsencode(path)):08x}"
    return Photo(id, path, stamp, problem)


def is_another(stamp: str, earlier: str) -> bool:
    """Return whether two stamps are of files at different paths."""
    return stamp.rpartition("-")[2] != earlier.rpartition("-")[2]


def files_below(
    folder: Path,
    above: tuple[tuple[int, int], ...] = (),
    visits: Counter[tuple[int, int]] | None = None,
) -> Iterator[Found]:
    """Yield the photos of a folder and of those inside it.

    Hidden folders are skipped, and so are those inside it that hold masks of earlier calls. What
    can't be read inside of it is yielded with the reason. ``above`` has device and inode of the
    folders around it, and ``visits`` of all so far: links may lead to one by millions of ways.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link back to a folder above, which would recurse forever
    visits = Counter() if visits is None else visits
    visits[here] += 1
    if len(above) >= MAX_LEVELS or visits[here] > MAX_LEVELS:
        yield folder, f"it is in more than {MAX_LEVELS} folders, or linked to in as many ways"
        return
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    may_be_output = folder.name == MASKS or any(entry.name in STEP_RECORDS for entry in found)
    if above and may_be_output and is_output(folder):
        return
    for entry in found:
        if entry.name.startswith(".") or entry.name.casefold() in SYSTEM:
            continue
        path = Path(entry.path)
        try:
            if entry.is_dir():
                yield from files_below(path, (*above, here), visits)
            elif path.suffix.lower() in SUFFIXES:
                yield path, ""
        except FileNotFoundError:
            pass  # deleted meanwhile
        except OSError as error:
            yield path, f"it can't be read: {error.strerror}"


def is_output(folder: Path) -> bool:
    """Return whether tag2mask or this program wrote what is in a folder."""
    if any(_keys_of(folder / name) >= STEP_KEYS for name in STEP_RECORDS):
        return True
    return folder.name == MASKS and _keys_of(folder.parent / RECORD) >= {"model", "decisions"}


def _keys_of(file: Path) -> set[str]:
    """Return the keys of a JSON object; none if the file is missing or something else."""
    with suppress(OSError, ValueError, RecursionError):
        values = json.loads(file.read_bytes()) if file.is_file() else None
        if isinstance(values, dict):
            return set(values)
    return set()


def outside(files: Iterable[Path], folder: Path) -> Iterator[Path]:
    """Yield the files that are not in a folder, whatever links lead there."""
    real = os.path.realpath(folder)
    inside: dict[Path, bool] = {}
    for file in files:
        parent = file.parent
        if parent not in inside:
            inside[parent] = Path(os.path.realpath(parent)).is_relative_to(real)
        if not inside[parent]:
            yield file


def _photos_of(matches: Iterable[Path], base: Path) -> Iterator[Found]:
    """Yield the photos of a pattern's matches, but none in folders of masks below ``base``."""

    @cache
    def is_written(folder: Path) -> bool:
        return base in folder.parents and (is_output(folder) or is_written(folder.parent))

    for match in matches:
        folder = match if match.is_dir() else match.parent
        if is_written(folder):
            continue
        if folder == match:
            yield from files_below(match)
        elif match.suffix.lower() in SUFFIXES:
            yield match, ""


def without_suffix(name: str) -> str:
    """Return a photo's name without its suffix, if it has one of a photo."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in SUFFIXES else name


def arrivals(
    folders: Sequence[str], out: Path, seconds: float, stop: Event
) -> Iterator[list[Photo]]:
    """Yield again and again the photos of folders that did not change since the last look.

    An id has no suffix then, whatever else arrives. It looks at names, sizes and times, not at
    events of the system, which shared folders don't send.

    Raises:
        FileNotFoundError: a folder is gone.
    """
    before: set[Photo] = set()
    while not stop.is_set():
        try:
            photos = list_photos(folders, out, suffixes=False)
        finally:  # a better message than that of the listing
            for folder in folders:
                if not Path(folder).is_dir():
                    raise FileNotFoundError(f"the watched folder is gone: {folder}") from None
        yield [photo for photo in photos if photo in before]
        before = set(photos)
        stop.wait(seconds)


def list_photos(given: Sequence[str], out: Path, *, suffixes: bool = True) -> list[Photo]:
    """List the photos of files, folders and patterns, but none in ``out``, sorted by id.

    Folders of masks from earlier calls are left out below the folders given.

    An id is the path without suffix, relative to the folder that contains all that is given; with
    ``suffixes``, photos that differ only in theirs keep it.
    """
    files: dict[Path, str] = {}
    bases = []
    for text in given:
        path = Path(os.path.abspath(text))  # noqa: PTH100 - resolve() follows links
        if path.is_dir():
            bases.append(path)
            files |= files_below(path)
        elif path.is_file():
            bases.append(path.parent)
            files[path] = ""
        elif matches := [*map(Path, glob.iglob(str(path), recursive=True))]:  # noqa: PTH207
            bases.append(Path(*takewhile(lambda part: not glob.has_magic(part), path.parts)))
            files |= _photos_of(matches, bases[-1])
        else:
            raise FileNotFoundError(f"no such photo or folder: {text}")
    root = Path(os.path.commonpath(bases))
    names = {file: file.relative_to(root).as_posix() for file in outside(files, out)}
    plain = {file: without_suffix(name) for file, name in names.items() if not files[file]}
    count = Counter(plain.values())

    def id_of(file: Path) -> str:
        unique = file in plain and (not suffixes or count[plain[file]] == 1)
        return plain[file] if unique else names[file]

    return sorted(photo_of(id_of(file), file, files[file]) for file in names)


def reason(error: Exception) -> str:
    """Return an error's message as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def name_problem(error: BaseException | None) -> str:
    """Return why no mask can have the name of a photo; empty for an error of another kind."""
    number = getattr(error, "errno", None)
    if number == errno.ENAMETOOLONG:
        return "the name of its mask would be too long; shorten the photo's name"
    if number in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return "another photo's mask or folder has the name of its mask; rename it"
    return ""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and rename it to ``path`` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def open_itself(path: Path, mode: str, buffering: int = -1) -> IO[bytes]:
    """Open a file for writing in its place; OSError where it is a link, maybe to another folder."""

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    return open(path, mode, buffering, opener=opened)


def write_mask(path: Path, labels: Array, colors: Sequence[Sequence[int]]) -> None:
    """Write labels uint8 (h, w) as a palette PNG."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    palette[255] = (224, 224, 192)
    image = Image.fromarray(labels)
    image.putpalette(palette.tobytes())
    with replaced(path) as temporary:
        image.save(temporary, format="PNG", compress_type=3)  # runs only, as tag2mask does


def time_of(file: Path) -> str:
    """Return when a file was written, as text that sorts and can be part of a name (UTC)."""
    return datetime.fromtimestamp(file.stat().st_mtime_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def keep_earlier(file: Path) -> None:
    """Rename a file, if it exists, so that its name has the time at which it was written."""
    with suppress(FileNotFoundError):
        file.replace(file.with_name(f"{file.stem}.{time_of(file)}{file.suffix}"))


class Journal:
    """Which masks are written, and from which state of their photos: ``items.jsonl``."""

    def __init__(self, file: Path) -> None:
        self.stamps: dict[str, str] = {}
        self._file = file
        lines = file.read_bytes().split(b"\n") if file.is_file() else []
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # cut off by a crash
                entry = json.loads(line)
                self.stamps[str(entry["id"])] = str(entry["key"])
        self._begin = "\n" if lines and lines[-1] else ""

    def record(self, photo: Photo) -> None:
        """Record a photo whose mask is written."""
        self.stamps[photo.id] = photo.stamp
        with open_itself(self._file, "ab") as file:
            line = json.dumps({"id": photo.id, "key": photo.stamp})
            file.write(f"{self._begin}{line}\n".encode())
        self._begin = ""
