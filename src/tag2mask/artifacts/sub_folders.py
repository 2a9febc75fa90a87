"""Sub-folders for the files of very many photos.

File systems and tools become slow in folders of millions of entries. Where a folder of a step would
get more than `MAX_ENTRIES`, the files of each photo are in a sub-folder named after the first hex
digits of the sha256 of the photo's id: ``maps/3f/000123.npz``. This is decided when the first photo
is written, and recorded in the step's ``split.json``; without that file the folders are not split.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tag2mask.errors import MissingFileError, RunFolderError
from tag2mask.files.json_file import read_json, write_json

MAX_ENTRIES = 100_000
"""Largest number of entries of a folder that is not split."""
SUB_FOLDERS = "split.json"
_WANTED_ENTRIES = MAX_ENTRIES // 10
_MOST_DIGITS = 4
"""Of 65,536 sub-folders: enough for a hundred million photos with 1,500 files in each."""
_digits_of: dict[Path, int] = {}
"""Number of hex digits by the absolute path of the step's folder, as far as it is known."""


def decide_sub_folders(step: Path, ids: Iterable[str], *, begun: bool) -> int:
    """Return the number of hex digits that name a step's sub-folders; 0: no sub-folders.

    Writes ``split.json`` where it is needed.

    Args:
        step: the step's folder.
        ids: of all photos that are to be written there.
        begun: whether photos were written before; then it stays as it is.

    Raises:
        RunFolderError: ``split.json`` is damaged, or can't be written.
    """
    digits = _recorded(step)
    if digits or begun:
        return digits
    digits = digits_for(ids)
    if digits:
        named_after = f"first {digits} hex digits of the sha256 of the photo's id"
        write_json(step / SUB_FOLDERS, {"digits": digits, "sub-folders": named_after})
    return digits


def use_sub_folders(step: Path, digits: int) -> None:
    """Use what `decide_sub_folders` returned, also in another process of the same run."""
    _digits_of[step.absolute()] = digits


def folder_of(folder: Path, item: str) -> Path:
    """Return the folder of an item's file.

    Args:
        folder: a folder inside the step's folder, such as ``maps``.
        item: the item's id.

    Raises:
        RunFolderError: ``split.json`` is damaged.
    """
    step = folder.parent.absolute()
    digits = _digits_of.get(step)
    if digits is None:
        digits = _recorded(folder.parent)
        if digits:  # a folder that is not split may have been deleted and begun again since
            _digits_of[step] = digits
    return sub_folder(folder, item, digits)


def sub_folder(folder: Path, item: str, digits: int) -> Path:
    """Return the folder of an item's file where sub-folders are named by so many hex digits."""
    return folder / hashlib.sha256(item.encode()).hexdigest()[:digits] if digits else folder


def has_sub_folders(step: Path) -> bool:
    """Return whether the folders of a step are split: names of sub-folders are no part of ids then.

    Raises:
        RunFolderError: ``split.json`` is damaged.
    """
    return _recorded(step) > 0


def _recorded(step: Path) -> int:
    try:
        digits = read_json(step / SUB_FOLDERS)["digits"]
    except MissingFileError:
        return 0
    except (KeyError, TypeError):
        digits = None
    if type(digits) is not int or not 0 < digits <= _MOST_DIGITS:
        raise RunFolderError(
            f"{SUB_FOLDERS} is damaged", where=step, fix="Delete the folder and run the step again."
        )
    return digits


def digits_for(ids: Iterable[str]) -> int:
    """Return how many hex digits keep every folder of the items' files small; 0: no sub-folders.

    Args:
        ids: of all items.
    """
    entries = Counter(item.rpartition("/")[0] for item in ids)
    folders = set(entries)
    for name in entries:
        while name := name.rpartition("/")[0]:
            folders.add(name)
    entries.update(name.rpartition("/")[0] for name in folders if name)
    most = max(entries.values(), default=0)
    digits = 0
    while most > (_WANTED_ENTRIES if digits else MAX_ENTRIES) and digits < _MOST_DIGITS:
        digits += 1
        most //= 16
    return digits
