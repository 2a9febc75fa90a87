"""Masks among the photos of class folders, recognized by their names and colors.

``truth/a.png`` next to ``photos/a.jpg`` and ``benign/a_mask.png`` next to ``benign/a.png`` have the
name of a photo, few colors, and no compression that would blur them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tag2mask.data.images import read_image
from tag2mask.data.layouts.class_folders.scan import ClassFolder
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.errors import DataError

_MOST_COLORS = 32
"""A photo has more."""
_SAMPLE = 3
"""Images of a group that are opened."""
_SHARE = 0.2
"""A group of masks is at least this part of its class folder."""
_EXACT_SUFFIXES = frozenset({".png", ".gif", ".bmp", ".tif", ".tiff"})

_Pair = tuple[str, str]
"""Paths of a possible mask and of its photo."""


def check_no_masks(root: Path, folders: Sequence[ClassFolder]) -> None:
    """Check that no class folder has masks of other images.

    Raises:
        DataError: one has; the message says what to do.
    """
    for pairs in _possible_masks(folders):
        sample = pairs[:: max(1, len(pairs) // _SAMPLE)][:_SAMPLE]
        if all(_has_few_colors(root / mask) for mask, _ in sample) and not any(
            _has_few_colors(root / photo) for _, photo in sample
        ):
            mask, photo = pairs[0]
            raise DataError(
                f"{mask} looks like a mask of {photo} ({len(pairs)} images with few colors and "
                "the names of photos): it would be a photo of a class",
                where=root,
                fix="Move the masks out of the class folders, into masks/ with the names of their "
                "photos if their pixels are class numbers. If their folder is a class, list the "
                "classes in classes.txt.",
            )


def _possible_masks(folders: Sequence[ClassFolder]) -> Iterator[list[_Pair]]:
    """Yield groups of images whose names are those of others, maybe with something appended."""
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for folder in folders:
        for file, inner in zip(folder.files, folder.inner_paths, strict=True):
            name = f"{folder.split}/{without_suffix(inner.rpartition('/')[2])}"
            first.setdefault(name, file.path)
            last[name] = file.path
    for folder in folders:
        groups: dict[tuple[str, str], list[_Pair]] = {}
        for file, inner in zip(folder.files, folder.inner_paths, strict=True):
            if Path(file.path).suffix.lower() not in _EXACT_SUFFIXES:
                continue
            name = without_suffix(inner.rpartition("/")[2])
            for length in _shorter_names(name):
                key = f"{folder.split}/{name[:length]}"
                photo = next((p for p in (first.get(key), last.get(key)) if p != file.path), None)
                if photo is not None:
                    group = inner.rpartition("/")[0], name[length:]
                    groups.setdefault(group, []).append((file.path, photo))
                    break
        yield from (g for g in groups.values() if len(g) >= _SHARE * len(folder.files))


def _shorter_names(name: str) -> list[int]:
    """Return the lengths of a name and of its beginnings that end before a word."""
    ends = [i for i in range(1, len(name)) if name[i] in "_-. " and name[i - 1] not in "_-. "]
    return [len(name), *reversed(ends)]


def _has_few_colors(path: Path) -> bool:
    try:
        return read_image(path).getcolors(_MOST_COLORS) is not None
    except DataError:
        return False  # reported when the photo is read
