"""Ids of items, such as photos, and the files that are named after them.

An id is a relative path without suffix. Ids that come from a file are checked, since the file may
be damaged or from somebody else: an id with ``..`` would reach files outside of the folder.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from tag2mask.artifacts.sub_folders import folder_of
from tag2mask.classes import UNPRINTABLE
from tag2mask.errors import RunFolderError

DRIVE = re.compile(r"[A-Za-z]:")
"""How absolute paths begin on Windows."""
_SEPARATOR = re.compile(r"[/\\]")


def path_problem(text: str) -> str | None:
    """Return why a text can't be an item's id or its relative path; None: it can."""
    if not text:
        return "is empty"
    if UNPRINTABLE.search(text):
        return "has an unprintable character or is not UTF-8"
    if text.startswith("/") or (os.name == "nt" and DRIVE.match(text)):
        return "is absolute; write it relative to the data folder"
    if ".." in _SEPARATOR.split(text):
        return "leads out of the data folder ('..')"
    return None


def checked_id(value: object) -> str:
    """Return an id that was read from a file.

    Raises:
        ValueError: it isn't one.
    """
    if not isinstance(value, str) or path_problem(value) is not None:
        raise ValueError("no id")
    return value


def item_path(folder: Path, item: str, suffix: str) -> Path:
    """Return the file of an item in a folder of a step; see `sub_folders` for those of very many.

    Raises:
        RunFolderError: the id would lead out of the folder.
    """
    return folder_of(folder, _checked(folder, item)) / f"{item}{suffix}"


def named_path(folder: Path, item: str, suffix: str) -> Path:
    """Return the file that is named after an item in any folder, which is never split.

    Raises:
        RunFolderError: the id would lead out of the folder.
    """
    return folder / f"{_checked(folder, item)}{suffix}"


def _checked(folder: Path, item: str) -> str:
    problem = path_problem(item)
    if problem is not None:
        raise RunFolderError(
            f"id {item!r} {problem}",
            where=folder,
            fix="The run folder is damaged: run `tag2mask prepare --redo`.",
        )
    return item


def skipped_lines(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """Return a manifest's lines about skipped items from their ids and reasons."""
    return [f"{item}: {reason}" for item, reason in skipped]


class SkippedItems:
    """The items in a manifest's list of skipped ones; ``id in skipped`` asks for one.

    Args:
        lines: those of `skipped_lines`.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = sorted(lines)

    def __contains__(self, item: str) -> bool:
        # Ids may contain a colon, so the lines can't be split into id and reason.
        start = f"{item}: "
        place = bisect_left(self._lines, start)
        return place < len(self._lines) and self._lines[place].startswith(start)
