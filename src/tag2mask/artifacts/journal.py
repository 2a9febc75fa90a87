"""The journal of a step's folder: which items are written, and what each was made from.

One line per item, appended once its files are written. A killed step continues from there, and a
step whose data changed redoes only the items whose key changed. Every rank writes its own journal;
all are read. An incomplete line is ignored.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import IO

from tag2mask.artifacts.files import readable_os_errors


class Journal:
    """The items of a folder, each with its key.

    Args:
        folder: the step's folder.
        rank: of this process, which has its own file.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._rank = rank
        self._read: dict[str, str] | None = None
        self._file: IO[bytes] | None = None

    @property
    def _keys(self) -> dict[str, str]:
        if self._read is None:
            self._read = recorded_items(self._folder)
        return self._read

    def key(self, item: str) -> str | None:
        """Return the key an item was last recorded with (on any rank), or None."""
        return self._keys.get(item)

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all recorded items, to find those that the data no longer has."""
        return tuple(self._keys)

    def record(self, item: str, key: str) -> None:
        """Record that an item's files are written; call it after writing them.

        Args:
            item: the item's id.
            key: what decides the item's content besides the inputs (the photo's stamp, tags).
        """
        self._keys[item] = key
        self._append(item, key)

    def drop(self, item: str) -> None:
        """Remove an item from the journal; call it before deleting its files."""
        self._keys.pop(item, None)
        self._append(item, None)

    def drop_missing(self, ids: Collection[str], files_of: Callable[[str], Iterable[Path]]) -> None:
        """Remove the items that the data no longer has, and delete their files.

        Only rank 0 does this; put a barrier before any rank records an item.

        Args:
            ids: the items that the data has.
            files_of: returns an item's files.
        """
        if self._rank == 0:
            for gone in [item for item in self.ids() if item not in ids]:
                self.drop(gone)
                for path in files_of(gone):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self, item: str, key: str | None) -> None:
        name = "items.jsonl" if self._rank == 0 else f"items.rank{self._rank}.jsonl"
        with readable_os_errors(self._folder / name):
            if self._file is None:
                self._file = _open(self._folder / name)
            line = json.dumps({"id": item, "key": key, "time": time.time_ns()})
            self._file.write(line.encode() + b"\n")
            self._file.flush()  # a killed process then loses at most the line being written


def _open(path: Path) -> IO[bytes]:
    file = path.open("ab+")
    if file.tell() > 0:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":  # cut off by a kill: end that line, it will be ignored
            file.write(b"\n")
    return file


def recorded_items(folder: Path) -> dict[str, str]:
    """Return the last key of each item over the journals of all ranks."""
    last: dict[str, tuple[int, str | None]] = {}
    for path in sorted(folder.glob("items*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    item, key, when = entry["id"], entry["key"], entry["time"]
                except (ValueError, KeyError, TypeError):
                    continue
                if item not in last or when >= last[item][0]:
                    last[item] = (when, key)
    return {item: key for item, (_, key) in last.items() if key is not None}
