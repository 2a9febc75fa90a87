"""Photos of storages as files of this computer, fetched ahead in a few threads.

A fetched photo is a temporary file until it is read, so that memory doesn't depend on its size.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Event

from tag2mask.data.layouts.ids import has_image_suffix
from tag2mask.data.photo_files import PhotoFile
from tag2mask.data.remote.addresses import parse_address
from tag2mask.data.remote.listing import GivenPhoto, RemotePhoto
from tag2mask.data.remote.storage import CONNECTIONS, storage
from tag2mask.errors import DataError, DeviceError, StorageError
from tag2mask.runtime.threads import ordered_map

MOST_FAILURES = 5
"""Number of photos in a row that a storage may fail to deliver; one more, and it is at fault."""
_PAGE_BYTES = 512


@dataclass(frozen=True)
class Fetched:
    """A photo, and its file on this computer or why there is none."""

    photo: GivenPhoto
    file: PhotoFile | DataError

    @contextmanager
    def opened(self) -> Iterator[PhotoFile]:
        """Yield the file, which is deleted afterwards if it was fetched.

        Raises:
            DataError: there is none, or it couldn't be read; the photo's address is named.
        """
        if isinstance(self.file, DataError):
            raise self.file
        if isinstance(self.photo, PhotoFile):
            yield self.file
            return
        try:
            yield self.file
        except (DataError, DeviceError) as error:
            where = str(parse_address(self.photo.address))
            if _is_page(self.file.path):
                raise DataError(
                    "a web page, not a photo",
                    where=where,
                    fix="Give the photo's own address; that of a folder ends in /.",
                ) from None
            raise type(error)(error.what, where=where, fix=error.fix) from None
        finally:
            self.file.path.unlink(missing_ok=True)


class Downloads:
    """Fetches photos; see `downloads`.

    A photo that can't be fetched is left out like an unreadable one. If several in a row can't, or
    all, the storage is at fault, and its error is raised.

    Args:
        folder: for temporary files; None: there are none to fetch.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._numbers = count()
        self._stopped = Event()
        self._failures: list[StorageError] = []
        self._delivers = False

    def ahead(self, photos: Sequence[GivenPhoto]) -> Generator[Fetched, None, None]:
        """Yield photos in order; at most ``2 * CONNECTIONS`` are fetched and not yet taken.

        Raises:
            StorageError: a storage that can't be reached, or denies access.
            PackageError: a package is missing.
            DeviceError: no space for temporary files.
        """
        if self._folder is None:
            for photo in photos:
                assert isinstance(photo, PhotoFile)
                yield Fetched(photo, photo)
            return
        threads = min(CONNECTIONS, len(photos))
        with closing(
            ordered_map(self._fetch, photos, threads or None, stopped=self._stopped)
        ) as fetched:
            for photo, file in fetched:
                yield Fetched(photo, self._skippable(file))
        if self._failures and not self._delivers:
            raise self._failures[0]

    def fetch(self, photo: GivenPhoto) -> Fetched:
        """Fetch one photo; see `ahead`."""
        return Fetched(photo, self._skippable(self._fetch(photo)[1]))

    def _fetch(self, photo: GivenPhoto) -> tuple[GivenPhoto, PhotoFile | DataError | StorageError]:
        if isinstance(photo, PhotoFile):
            return photo, photo
        assert self._folder is not None
        parts = parse_address(photo.address)
        suffix = PurePosixPath(parts.path).suffix if has_image_suffix(parts.path) else ""
        target = self._folder / f"{next(self._numbers)}{suffix}"
        try:
            storage(parts.scheme).fetch(photo.address, target, self._stopped)
        except (DataError, StorageError) as error:
            target.unlink(missing_ok=True)
            return photo, error
        return photo, PhotoFile(photo.id, target, photo.stamp)

    def _skippable(self, file: PhotoFile | DataError | StorageError) -> PhotoFile | DataError:
        """Return a photo's file, or the error with which it is left out.

        Raises:
            StorageError: the storage is at fault.
        """
        if not isinstance(file, StorageError):
            self._delivers = True
            self._failures.clear()
            return file
        self._failures.append(file)
        if len(self._failures) > MOST_FAILURES:
            raise self._failures[0]
        return DataError(file.what, where=file.where, fix=file.fix)


@contextmanager
def downloads(photos: Sequence[GivenPhoto]) -> Iterator[Downloads]:
    """Yield what fetches these photos; temporary files are deleted at the end."""
    if not any(isinstance(photo, RemotePhoto) for photo in photos):
        yield Downloads(None)
        return
    with TemporaryDirectory(prefix="tag2mask-", ignore_cleanup_errors=True) as folder:
        yield Downloads(Path(folder))


def _is_page(path: Path) -> bool:
    """Return whether a file is HTML, such as the page of an error or of a login."""
    with path.open("rb") as file:
        head = file.read(_PAGE_BYTES).lstrip().lower()
    return head.startswith(b"<!doctype html") or b"<html" in head
