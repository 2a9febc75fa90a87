"""Photo ids and written paths: their plain form, and ids that conflict on disk."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from tag2mask.artifacts.items import DRIVE, path_problem
from tag2mask.formats.photo_names import PHOTO_SUFFIXES

_FILE_LIKE_FOLDER = re.compile(r"\.(?:png|jpg|npz)/")
"""Suffixes that the steps append to a photo's id."""
LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
"""Zeros of a number that a spreadsheet may have removed."""
_SPELLINGS = {**dict.fromkeys(("jpeg", "jpe", "jfif"), "jpg"), "tiff": "tif"}


def without_suffix(path: str) -> str:
    """Return a photo's path without its image suffix; other suffixes are part of the name."""
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in PHOTO_SUFFIXES else path


def has_image_suffix(text: str) -> bool:
    """Return whether a text ends in the suffix of an image, as the name of a photo does."""
    return without_suffix(text) != text


def image_format(path: str) -> str:
    """Return a path's suffix in the usual spelling of its format: ``jpg`` of ``a.JPEG``."""
    suffix = path.rpartition(".")[2].lower()
    return _SPELLINGS.get(suffix, suffix)


def loose_name(name: str) -> str:
    """Return a name without its case and the encoding of its accents."""
    return unicodedata.normalize("NFC", name).casefold()


def path_conflicts(ids: Collection[str]) -> list[tuple[str, str]]:
    """Return pairs of ids whose output files can't both exist.

    A file of one has the name of the other's folder: the masks of photos ``a`` and ``a.png/b`` are
    ``a.png`` and ``a.png/b.png``.

    Returns:
        (id, id in a folder of that name) pairs, sorted.
    """
    return sorted(
        (photo, id)
        for id in ids
        for found in _FILE_LIKE_FOLDER.finditer(id)
        if (photo := id[: found.start()]) in ids
    )


def normalize_path(text: str) -> tuple[str, str | None]:
    """Bring an id or path from a file to its plain form, and check it.

    Whether it would leave the data folder is decided on the text alone, before any access to the
    disk.

    Returns:
        The path with ``/`` as separator and without empty or ``.`` parts; and why it can't be used,
        or None.
    """
    text = text.strip().replace("\\", "/")
    # A drive's path would be absolute where the data was made, if not here.
    problem = path_problem("/" if DRIVE.match(text) else text)
    if problem is not None:
        return text, problem
    if "." not in text and "//" not in text and not text.endswith("/"):
        return text, None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return ("/".join(parts), None) if parts else (text, "names no file")
