"""Files of a storage: listed and fetched, with time limits and a few attempts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from functools import lru_cache, partial
from pathlib import Path
from threading import Event, Lock
from typing import Any, NamedTuple, TypeVar

from tag2mask.data.remote.addresses import WEB, request_address
from tag2mask.data.remote.failures import is_temporary, storage_failure
from tag2mask.errors import PackageError, Tag2MaskError

CONNECT_SECONDS = 15.0
STALL_SECONDS = 30.0
"""The longest time without a byte."""
FILE_SECONDS = 900.0
"""The longest time for a file: a gigabyte takes less at 10 Mbit/s."""
ATTEMPTS = 4
WAIT_SECONDS = 1.0
"""Time before the second attempt; it doubles for each further one."""
CONNECTIONS = 16
"""Number of files that are fetched at the same time."""
_WEB_DEPTH = 16
"""Folders inside folders that are followed on web servers, whose links may lead on forever."""
_POLL_SECONDS = 0.2
_LOGGERS = ("fsspec", "s3fs", "aiobotocore", "botocore", "gcsfs", "google")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
_REPEATS_ITSELF = frozenset({"gs"})
"""Schemes whose package tries again on its own."""

Result = TypeVar("Result")


class StoredFile(NamedTuple):
    """A file in a listing.

    Attributes:
        address: its address.
        version: bytes and what else the listing tells of its content; empty: nothing.
    """

    address: str
    version: str


class StoppedError(Exception):
    """The photo isn't needed any more."""


class Storage:
    """The storage of a kind of addresses. Thread-safe.

    Args:
        scheme: ``s3``, ``gs``, ``https``, ...

    Raises:
        PackageError: a package is missing.
        StorageError: no valid credentials, as far as they are read before the first request.
    """

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self._attempts = 1 if scheme in _REPEATS_ITSELF else ATTEMPTS
        try:
            self._system = _file_system(scheme)
        except PackageError:
            raise
        except Exception as error:  # see `_repeat`
            raise storage_failure(error, f"{scheme}://", "storage", "tried once") from None

    def fetch(self, address: str, target: Path, stopped: Event) -> None:
        """Copy a file to a path of this computer.

        Args:
            address: the file's.
            target: file to write.
            stopped: ends the work when it is set.

        Raises:
            DataError: the storage has no such file.
            StorageError: no access, or no answer in time.
            DeviceError: no space for it.
            StoppedError: ``stopped`` was set.
        """
        self._repeat(lambda: self._fetch(address, target, stopped), address, "photo", stopped)

    def files(self, folder: str, beginning: str = "") -> list[StoredFile]:
        """Return all files below a folder, sorted; empty: it doesn't exist, or is empty.

        Args:
            folder: its address; outside of the web that of a file returns the file.
            beginning: of the names in this folder; a storage may return others, too.

        Raises:
            DataError: the storage has no such bucket or page.
            StorageError: no access, or no answer in time.
        """
        list_all = self._linked if self.scheme in WEB else partial(self._stored, beginning)
        return sorted(self._repeat(lambda: list_all(folder), folder, "folder", Event()))

    def _repeat(self, act: Callable[[], Result], address: str, noun: str, stopped: Event) -> Result:
        pause = WAIT_SECONDS
        for attempt in range(1, self._attempts + 1):
            try:
                return act()
            except (Tag2MaskError, StoppedError):
                raise
            except Exception as error:  # those of the packages have no class in common
                if attempt == self._attempts or not is_temporary(error):
                    times = "tried once" if attempt == 1 else f"tried {attempt} times"
                    tried = f"{times}, with up to {STALL_SECONDS:g} s of silence"
                    raise storage_failure(error, address, noun, tried) from None
            if stopped.wait(pause):
                break
            pause *= 2
        raise StoppedError

    def _fetch(self, address: str, target: Path, stopped: Event) -> None:
        import asyncio  # not for photos of this computer, whose command starts faster

        path = self._own_path(address)
        if not self._system.async_impl:
            self._system.get_file(path, str(target))
            return
        copy = asyncio.wait_for(self._system._get_file(path, str(target)), FILE_SECONDS)
        future = asyncio.run_coroutine_threadsafe(copy, self._system.loop)
        while not wait([future], _POLL_SECONDS).done:
            if stopped.is_set():
                future.cancel()
                raise StoppedError
        future.result()

    def _stored(self, beginning: str, folder: str) -> list[StoredFile]:
        """Return the files of a storage that knows which it has."""
        given = {"prefix": beginning} if beginning and self._system.async_impl else {}
        found = self._system.find(self._own_path(folder), detail=True, **given)
        return [
            StoredFile(self._system.unstrip_protocol(name), _version(info))
            for name, info in found.items()
            if info.get("type") != "directory" and not name.endswith("/")
        ]

    def _linked(self, folder: str) -> list[StoredFile]:
        """Return what the pages of a web server's folders link to.

        Not by fsspec's `find`, which takes a folder that fails for an empty one.
        """
        files: dict[str, None] = {}
        folders = {f"{self._own_path(folder).rstrip('/')}/": 0}
        waiting = [*folders]
        while waiting:
            page = waiting.pop()
            try:
                links = self._system.ls(page, detail=False)
            except FileNotFoundError:
                if folders[page] == 0:
                    raise
                continue  # a page may link to what isn't there
            for link in links:
                if "/../" in link or "?" in link or not link.startswith(page):
                    continue
                if not link.endswith("/"):
                    files[link] = None
                elif link not in folders and folders[page] < _WEB_DEPTH:
                    folders[link] = folders[page] + 1
                    waiting.append(link)
        return [StoredFile(link, "") for link in files]

    def _own_path(self, address: str) -> str:
        """Return an address as its file system takes it."""
        text = request_address(address) if self.scheme in WEB else address
        return str(self._system._strip_protocol(text))


_connecting = Lock()


def storage(scheme: str) -> Storage:
    """Return the storage of a scheme; it is connected once, whichever thread asks first.

    Raises:
        PackageError, StorageError: as `Storage`.
    """
    with _connecting:
        return _storage(scheme)


@lru_cache
def _storage(scheme: str) -> Storage:
    return Storage(scheme)


def _file_system(scheme: str) -> Any:
    """Return fsspec's file system of a scheme.

    Raises:
        PackageError: a package is missing.
    """
    package = _PACKAGES.get(scheme, "fsspec")
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
        options = _options(scheme)
    except ImportError as error:
        missing = "fsspec" if error.name == "fsspec" else package
        raise PackageError(
            f"reading {scheme}:// needs the package {missing}",
            fix=f"Install it: pip install {missing}. The extra remote has the packages of all "
            "storages: pip install '.[remote]' in the project's folder.",
        ) from None
    for name in _LOGGERS:  # without a handler, Python prints what they log beside our message
        logging.getLogger(name).addHandler(logging.NullHandler())
    files = fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **options)
    if scheme == "s3":
        files.retries = 1  # see `_repeat`
        files.connect()
    return files


def _options(scheme: str) -> dict[str, Any]:
    """Return the options of a file system: time limits and connections."""
    if scheme == "s3":
        return {
            "config_kwargs": {
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": STALL_SECONDS,
                "retries": {"max_attempts": 0},
                "max_pool_connections": CONNECTIONS,
            }
        }
    if scheme in ("file", "memory"):
        return {}
    import aiohttp

    limits = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS
    )
    if scheme == "gs":
        return {"requests_timeout": limits}
    # Addresses are encoded already; proxies are those of the environment.
    return {"encoded": True, "client_kwargs": {"timeout": limits, "trust_env": True}}


def _version(info: Mapping[str, Any]) -> str:
    """Return what a listing says of a file's content: bytes, and a checksum or time."""
    keys = ("ETag", "etag", "md5Hash", "mtime", "created")
    stamp = next((str(info[key]) for key in keys if info.get(key)), "")
    size = info.get("size")
    plain = "".join(c for c in stamp if c.isalnum() or c in "+/=.:")
    return "" if size is None and not plain else f"{size}-{plain}"
