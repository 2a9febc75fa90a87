"""Photos of the parts that a table names.

A row may name a file (``4711003_A.JPG``) or a part that has several photos: those whose names begin
with the part's (``4711003_A``, ``4711003 front``), or that are in a folder of its name. A photo
belongs to the longest name that fits. What spreadsheets do to numbers is undone where it is
certain: ``4711003.0`` is ``4711003``, and lost zeros (``47`` for ``0047``) are put back where one
part fits.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from tag2mask.data.layouts.ids import (
    LEADING_ZEROS,
    has_image_suffix,
    loose_name,
    without_suffix,
)
from tag2mask.data.layouts.listing import FoundFile
from tag2mask.errors import first_few

_SEPARATOR = re.compile(r"[\W_]+")
"""What may be between the name of a part and that of one of its photos."""
_ZERO_FRACTION = re.compile(r"(\d+)\.0+")
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_LONGEST_SEARCH = 20_000
"""Names among which the nearest one is looked for."""


class PartPhotos(NamedTuple):
    """The photos of a part."""

    group: str
    """The part's name as the photos have it."""
    photos: tuple[str, ...]
    """Paths, sorted."""


class Joined(NamedTuple):
    """What joining names and photos gave."""

    parts: dict[str, PartPhotos]
    """By the name in the table."""
    without_photo: dict[str, str]
    """Names without a photo, and what is known about each (empty: nothing)."""
    unnamed: tuple[str, ...]
    """Photos that no row names."""
    conflicts: tuple[str, ...]
    """Names that mean the same photos, or files that several photos may be."""

    def without(self, texts: Collection[str]) -> Joined:
        """Return the same without some names and their photos."""
        return self._replace(
            parts={text: part for text, part in self.parts.items() if text not in texts},
            without_photo={t: why for t, why in self.without_photo.items() if t not in texts},
        )


class PhotoNames:
    """The names that photos have or may belong to.

    Args:
        photos: the photos.
    """

    def __init__(self, photos: Sequence[FoundFile]) -> None:
        self._names = {photo.path: [*_names_of(photo.path)] for photo in photos}
        self._known = {loose_name(name) for names in self._names.values() for name in names}

    def names_a_photo(self, text: str) -> bool:
        """Return whether a text in a table names a photo or a part that has one."""
        return any(loose_name(form) in self._known for form in _forms(text))

    def examples(self) -> str:
        """Return some paths of photos, for a message."""
        return first_few(map(repr, self._names), 3)

    def join(self, texts: Iterable[str]) -> Joined:
        """Find the photos of the texts that a table has in its column of photos or parts."""
        texts = [*dict.fromkeys(texts)]
        keys: dict[str, str] = {}
        conflicts: list[str] = []
        for text in texts:
            key = next((loose_name(f) for f in _forms(text) if loose_name(f) in self._known), "")
            if key and key in keys:
                conflicts.append(
                    f"{keys[key]!r} and {text!r} name the same photos; write one of them in both "
                    "rows, or name the photos by their paths"
                )
            elif key:
                keys[key] = text
        parts, unnamed = self._assign(keys)
        conflicts += _several_files(parts)
        rest = [text for text in texts if text not in parts and text not in keys.values()]
        found, reasons = _join_without_zeros(rest, [self._names[path] for path in unnamed])
        for text, name in found.items():
            photos = tuple(p for p in unnamed if name in map(loose_name, self._names[p]))
            parts[text] = PartPhotos(_written(self._names[photos[0]], name), photos)
        joined = {path for part in parts.values() for path in part.photos}
        without = {t: reasons.get(t, "") for t in texts if t not in parts}
        left = tuple(path for path in unnamed if path not in joined)
        return Joined(parts, self._with_nearest(without), left, tuple(conflicts))

    def _assign(self, keys: dict[str, str]) -> tuple[dict[str, PartPhotos], list[str]]:
        """Give each photo to the longest name that fits; return these, and the other photos."""
        found: dict[str, list[str]] = {}
        groups: dict[str, str] = {}
        unnamed: list[str] = []
        for path, names in self._names.items():
            name = next((n for n in names if _fits(n, path, keys)), None)
            if name is None:
                unnamed.append(path)
            else:
                text = keys[loose_name(name)]
                found.setdefault(text, []).append(path)
                groups.setdefault(text, name)
        for text, paths in found.items():
            named = (
                [path for path in paths if _has_name(path, text)] if has_image_suffix(text) else []
            )
            if named:  # not also ``a.png`` where the row says ``a.jpg``
                unnamed += [path for path in paths if path not in named]
                found[text] = named
        return {
            text: PartPhotos(groups[text], tuple(sorted(paths))) for text, paths in found.items()
        }, unnamed

    def _with_nearest(self, without: dict[str, str]) -> dict[str, str]:
        """Add the nearest photo to the first names that have none."""
        stems = {loose_name(name): path for path, names in self._names.items() for name in names}
        known = [*stems][:_LONGEST_SEARCH]
        shown = [text for text, reason in without.items() if not reason][:5]
        for text in shown:
            close = difflib.get_close_matches(loose_name(text), known, n=1, cutoff=0.6)
            if _SHORTENED.fullmatch(text):
                without[text] = "a spreadsheet shortened the number: format the column as text"
            elif close:
                without[text] = f"the nearest photo is {stems[close[0]]}"
        return without


def same_names(part: PartPhotos) -> tuple[str, ...]:
    """Return the photos of a part that have the same name in different folders, sorted.

    Folders inside one folder of the part's name don't count: they are the part's own.
    """
    folders: dict[str, dict[str, list[str]]] = {}
    for path in part.photos:
        name = loose_name(without_suffix(path).rpartition("/")[2])
        folders.setdefault(name, {}).setdefault(outer_folder(part, path), []).append(path)
    return tuple(
        sorted(
            path
            for by_folder in folders.values()
            if len(by_folder) > 1
            for paths in by_folder.values()
            for path in paths
        )
    )


def outer_folder(part: PartPhotos, path: str) -> str:
    """Return the folder of a photo, or that in which the folder of its part is."""
    folder = path.rpartition("/")[0]
    return f"/{folder}/".partition(f"/{part.group}/")[0].strip("/")


def nearest_name(path: str, texts: Sequence[str]) -> str:
    """Return the text of a table that is nearest to a photo's name; empty: none is near."""
    names = {loose_name(text): text for text in texts[:_LONGEST_SEARCH]}
    stem = without_suffix(path).rpartition("/")[2]
    close = difflib.get_close_matches(loose_name(stem), [*names], n=1, cutoff=0.6)
    return names[close[0]] if close else ""


def _names_of(path: str) -> Iterator[str]:
    """Yield the names of a photo and of the parts that it may belong to, the longest first.

    These are its path without suffix, and the same cut at each separator of its name, both also
    without outer folders; then the names of its folders.
    """
    folder, _, stem = without_suffix(path).rpartition("/")
    folders = folder.split("/") if folder else []
    cuts = [stem, *(stem[: m.start()] for m in reversed([*_SEPARATOR.finditer(stem)]) if m.start())]
    for cut in cuts:
        for start in range(len(folders) + 1):
            yield "/".join([*folders[start:], cut])
    for end in range(len(folders), 0, -1):
        for start in range(end):
            yield "/".join(folders[start:end])


def _forms(text: str) -> Iterator[str]:
    """Yield what a text of a table may mean: itself, without outer folders, without ``.0``."""
    path = without_suffix(text.strip().replace("\\", "/"))
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        yield "/".join(parts[start:])
    if number := _ZERO_FRACTION.fullmatch(path):
        yield number[1]


def _fits(name: str, path: str, keys: dict[str, str]) -> bool:
    """Return whether a photo may have the name that a row has: a row with a suffix is one file."""
    text = keys.get(loose_name(name))
    if text is None:
        return False
    return not has_image_suffix(text) or f"/{without_suffix(path)}".endswith(f"/{name}")


def _has_name(path: str, text: str) -> bool:
    """Return whether a photo's file is called as a text says, with its suffix."""
    name = text.strip().replace("\\", "/").rpartition("/")[2]
    return loose_name(path.rpartition("/")[2]) == loose_name(name)


def _several_files(parts: dict[str, PartPhotos]) -> list[str]:
    return [
        f"{text!r} may be {first_few(part.photos, 3)}: write the path"
        for text, part in parts.items()
        if has_image_suffix(text) and len(part.photos) > 1
    ]


def _join_without_zeros(
    texts: Sequence[str], photos: Sequence[Sequence[str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Join texts with the names of photos that differ in leading zeros, where one name fits.

    Returns:
        The (loose) name of each text that was joined, and why others weren't.
    """
    wanted: dict[str, list[str]] = {}
    for text in texts:
        if not has_image_suffix(text):
            for form in [*_forms(text)][-1:]:
                wanted.setdefault(LEADING_ZEROS.sub("", loose_name(form)), []).append(text)
    names: dict[str, set[str]] = {}
    for own in photos:
        for name in map(loose_name, own):
            plain = LEADING_ZEROS.sub("", name)
            if plain in wanted:
                names.setdefault(plain, set()).add(name)
    found: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for plain, fitting in names.items():
        for text in wanted[plain]:
            if len(fitting) == len(wanted[plain]) == 1:
                found[text] = next(iter(fitting))
            else:
                shown = first_few(sorted(fitting), 3)
                reasons[text] = f"zeros may be lost, but several names fit: {shown}"
    return found, reasons


def _written(names: Sequence[str], loose: str) -> str:
    return next(name for name in names if loose_name(name) == loose)
