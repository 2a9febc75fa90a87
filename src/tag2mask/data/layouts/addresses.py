r"""Photos that another tool's file names by an address, matched with local photos.

Tools write where they had a photo, not where it is now::

    /data/upload/1/1f0e2d3c-a.jpg                     Label Studio, uploaded: a prefix of 8 digits
    /data/local-files/?d=street%2Fa.jpg               Label Studio, from a folder
    https://bucket.example/street/a.jpg?sig=...       from a cloud
    C:\photos\street\a.jpg,   /home/me/street/a.jpg  absolute paths

The photo is the one whose path below the data folder the address ends with. Where there is none,
it is the one that shares the most of the address's end, at least the file's name. An address that
fits two photos equally well means none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from urllib.parse import parse_qs, unquote, urlsplit

from tag2mask.data.layouts.ids import has_image_suffix, image_format, loose_name, without_suffix

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(text: str) -> bool:
    """Return whether a text names a photo outside of any data folder: absolute, or a URL."""
    text = text.strip()
    return bool(re.match(r"[/\\]|[A-Za-z]:[/\\]", text) or _URL.match(text))


def is_upload(path: str) -> bool:
    """Return whether a file's name begins as those of Label Studio's uploads do."""
    return bool(_UPLOAD_PREFIX.match(path.rpartition("/")[2]))


def address_paths(address: str) -> tuple[str, ...]:
    """Return the paths that an address may mean, the most literal one first.

    They have ``/`` as separator, and no empty, ``.`` or ``..`` parts.
    """
    text = address.strip().replace("\\", "/")
    found = [text]
    if _URL.match(text) or text.startswith("/"):
        try:
            url = urlsplit(text)
            # By hand, people write a file's + as it is, which means a space in a query.
            plus = parse_qs(url.query.replace("+", "%2B"))
            own = (query.get("d", ()) for query in (parse_qs(url.query), plus))
            found = [*chain(*own), text, url.path, unquote(url.path)]
        except ValueError:  # brackets that are no IPv6 address
            found = [text]
    elif "%" in text:
        found.append(unquote(text))
    paths = ("/".join(p for p in path.split("/") if p not in ("", ".", "..")) for path in found)
    return tuple(dict.fromkeys(path for path in paths if path))


class AddressedPhotos:
    """Finds the local photo that an address means.

    Args:
        paths: the photos' paths below the data folder, with suffix.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            for key in _keys(path):
                self._by_name.setdefault(key, []).append(path)

    def find(self, address: str) -> tuple[str, ...]:
        """Return the photos that an address may mean: one, none, or several."""
        for path in address_paths(address):
            for written in _with_and_without_prefix(path):
                found = self._nearest(written)
                if found:
                    return found
        return ()

    def _nearest(self, written: str) -> tuple[str, ...]:
        """Return the photos with a path's name whose folders are the most like its own."""
        candidates = self._by_name.get(_keys(written)[0], [])
        if len(candidates) < 2:
            return tuple(candidates)
        shared = {path: _shared_end(path, written) for path in candidates}
        complete = [path for path in candidates if shared[path] == path.count("/") + 1]
        best = max(shared[path] for path in complete or candidates)
        return tuple(path for path in complete or candidates if shared[path] == best)


def _with_and_without_prefix(path: str) -> tuple[str, ...]:
    folder, slash, name = path.rpartition("/")
    plain = _UPLOAD_PREFIX.sub("", name, count=1)
    return (path,) if plain == name else (path, f"{folder}{slash}{plain}")


def _keys(path: str) -> tuple[str, ...]:
    """Return what a photo's name is looked up by: with the format of its suffix, and without."""
    name = path.rpartition("/")[2]
    stem = loose_name(without_suffix(name))
    return (f"{stem}.{image_format(name)}", stem) if has_image_suffix(name) else (stem,)


def _shared_end(path: str, written: str) -> int:
    """Return how many parts at the end of two paths are equal; the names count as equal."""
    ours, theirs = (loose_name(text).split("/")[-2::-1] for text in (path, written))
    equal = [one == other for one, other in zip(ours, theirs, strict=False)]
    return 1 + (equal.index(False) if False in equal else len(equal))
