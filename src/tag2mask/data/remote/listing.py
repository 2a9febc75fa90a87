"""Photos to predict that are in storages: single addresses, folders and patterns.

A photo's id is its path without suffix, relative to the folder that contains everything given, as
for files (see `tag2mask.data.photo_files`). Photos in folders and of patterns carry what the
storage's listing tells of their content, so that changed ones are noticed; single addresses carry
nothing: a request for each of a million photos would take hours.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

from tag2mask.data.layouts.folder_names import is_system_folder
from tag2mask.data.layouts.ids import has_image_suffix
from tag2mask.data.photo_files import PhotoFile, list_photos, photo_ids
from tag2mask.data.remote.addresses import WEB, Address, is_remote, parse_address
from tag2mask.data.remote.storage import storage
from tag2mask.errors import DataError
from tag2mask.formats.photo_names import PHOTO_SUFFIXES
from tag2mask.formats.text_files.text_lines import read_lines

_NO_NAME = "the address has an empty part, or '..'"
_SAME_NAME = "another address has the same name"


@dataclass(frozen=True, slots=True)
class RemotePhoto:
    """One photo in a storage.

    Attributes:
        id: relative path without suffix, ``/`` as separator.
        address: where it is fetched, with its signature.
        stamp: ``<bytes>-<checksum or time>`` where a listing has them, then ``-`` and a checksum
            of the address without signature; it differs for another photo.
        problem: why no mask can have its name; None: one can.
    """

    id: str
    address: str
    stamp: str
    problem: str | None = None


GivenPhoto = PhotoFile | RemotePhoto
"""A photo to predict."""


class _Found(NamedTuple):
    address: str
    parts: Address
    version: str


def list_given_photos(
    given: Sequence[str],
    *,
    leave_out: Path | None = None,
    skipped: list[str] | None = None,
) -> Sequence[GivenPhoto]:
    """List photos to predict: paths of this computer, or addresses.

    Args:
        given: for paths see `list_photos`. An address is that of a photo; of a folder, which ends
            in ``/`` on the web and elsewhere doesn't end in the suffix of a photo; or a pattern
            with ``*``.
        leave_out: see `list_photos`.
        skipped: extended by files that are not photos by their names, and by system folders.

    Raises:
        DataError: nothing is found, a storage of an unknown kind, or paths beside addresses.
        StorageError: a storage that can't be reached, or denies access.
        PackageError: a package is missing.
    """
    addresses = [text for text in given if is_remote(text)]
    if not addresses:
        return list_photos(given, leave_out=leave_out, skipped=skipped)
    if len(addresses) < len(given):
        path = next(text for text in given if not is_remote(text))
        raise DataError(
            "paths on this computer beside addresses",
            where=path,
            fix="Label them with two commands; both may write to one folder.",
        )
    return _list_addresses(addresses, [] if skipped is None else skipped)


def read_photo_list(file: Path) -> list[str]:
    """Return the lines of a list of photos that aren't empty.

    Raises:
        DataError: it can't be read, or is empty.
    """
    found = [line.strip() for line in read_lines(file) if line.strip()]
    if not found:
        raise DataError(
            "the list names no photo", where=file, fix="Write one path or address per line."
        )
    return found


def _list_addresses(addresses: Sequence[str], skipped: list[str]) -> list[RemotePhoto]:
    """Return the photos of addresses, each once, sorted by id."""
    found: dict[str, _Found] = {}
    bases: set[str] = set()
    for text in addresses:
        base, listed = _photos_of(text, skipped)
        bases.add(base)
        for photo in listed:
            found.setdefault(str(photo.parts), photo)
    names = _names(found, posixpath.commonpath(bases))
    ids = photo_ids(names.values())
    taken = Counter(names.values())
    photos = []
    for key, photo in found.items():
        id, problem = ids[names[key]]
        if {"", ".", ".."} & {*photo.parts.path.split("/")} and photo.parts.path:
            problem = problem or _NO_NAME
        elif taken[names[key]] > 1:
            problem = problem or _SAME_NAME
        checksum = f"{zlib.crc32(key.encode(errors='surrogateescape')):08x}"
        stamp = f"{photo.version or 'address'}-{checksum}"
        photos.append(RemotePhoto(id, photo.address, stamp, problem))
    return sorted(photos, key=lambda photo: (photo.id, photo.address))


def _photos_of(text: str, skipped: list[str]) -> tuple[str, list[_Found]]:
    """Return the folder that ids are relative to (see `_path`), and the photos of an address.

    ``skipped`` is extended.
    """
    parts = parse_address(text)
    pattern = "*" in (text.partition("?")[0] if parts.scheme in WEB else text)
    if not pattern and _is_photo(parts):
        return posixpath.dirname(_path(parts)), [_Found(text, parts, "")]
    listed = _listed_by(text, parts) if pattern else _listed_in(text)
    if [str(photo.parts) for photo in listed] == [str(parts)] and parts.scheme not in WEB:
        return posixpath.dirname(_path(parts)), listed
    folder = parts.path.partition("*")[0].rpartition("/")[0] if pattern else parts.path.strip("/")
    base = _path(parts._replace(path=folder))
    photos: list[_Found] = []
    others: list[_Found] = []
    for photo in listed:
        below = _path(photo.parts)[len(base) :].lstrip("/")
        if any(part.startswith(".") or is_system_folder(part) for part in below.split("/")):
            continue
        (photos if has_image_suffix(photo.parts.path) else others).append(photo)
    skipped += sorted(str(photo.parts) for photo in others)
    if not photos:
        raise DataError(
            "the pattern matches no photo" if pattern else "no photo at this address",
            where=str(parts),
            fix=f"Photos are files named {', '.join(sorted(PHOTO_SUFFIXES))}."
            + (
                " A web server must list them as links, or give their addresses one by one (--list)"
                if parts.scheme in WEB
                else ""
            ),
        )
    return base, photos


def _listed_in(folder: str, beginning: str = "") -> list[_Found]:
    return [
        _Found(file.address, parse_address(file.address), file.version)
        for file in storage(parse_address(folder).scheme).files(folder, beginning)
    ]


def _listed_by(pattern: str, parts: Address) -> list[_Found]:
    """Return the files that a pattern matches, and those below folders that it matches."""
    if any("**" in part and part != "**" for part in parts.path.split("/")):
        raise DataError(
            "** is not a folder of its own", where=str(parts), fix="Write **/*.jpg, for example."
        )
    folder, slash, beginning = parts.path.partition("*")[0].rpartition("/")
    root = folder + slash
    listed = _listed_in(f"{pattern.partition('*')[0].rpartition('/')[0]}/", beginning)
    from fsspec.utils import glob_translate  # after the message about a missing package

    matches = re.compile(glob_translate(parts.path.removeprefix(root))).match

    def is_wanted(path: str) -> bool:
        names = path.removeprefix(root).split("/")
        return any(matches("/".join(names[:count])) for count in range(1, len(names) + 1))

    return [photo for photo in listed if is_wanted(photo.parts.path)]


def _is_photo(parts: Address) -> bool:
    """Return whether an address without pattern is that of one photo."""
    if parts.scheme in WEB:
        return bool(parts.query) or not (parts.path == "" or parts.path.endswith("/"))
    return has_image_suffix(parts.path)


def _path(parts: Address) -> str:
    """Return an address as one path, that of a folder without slash at its end."""
    host = parts.host.replace(":", "_")
    return "/".join(part for part in (f"/{parts.scheme}", host, parts.path) if part)


def _names(found: dict[str, _Found], root: str) -> dict[str, str]:
    """Return the photos' paths relative to a folder; the query is added where it distinguishes."""
    paths = {key: _path(photo.parts)[len(root) :].lstrip("/") for key, photo in found.items()}
    counts = Counter(paths.values())
    return {
        key: _with_query(path, found[key].parts.query) if counts[path] > 1 else path
        for key, path in paths.items()
    }


def _with_query(path: str, query: str) -> str:
    """Return a path with a query before its suffix."""
    suffix = PurePosixPath(path).suffix
    added = f"_{quote(query, safe='=,+')}" if query else ""
    return f"{path.removesuffix(suffix)}{added}{suffix}"
