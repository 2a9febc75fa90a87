"""The journal of a step's folder: which items are written, and what each was made from.

One line per item, appended once its files are written. A killed step continues from there, and a
step whose data changed redoes only the items whose key changed. Every rank writes its own journal;
all are read. A line that is incomplete, or has no valid id, is ignored.

The last line of an item counts. Lines of different files are ordered by their session, which is one
higher than all sessions that the journals held when it began; no clock is involved.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from tag2mask.artifacts.items import checked_id
from tag2mask.files.digests import file_digest
from tag2mask.files.links import open_itself
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.files.regular_file import open_regular
from tag2mask.text.json_text import parse_json


class Journal:
    """The items of a folder, each with its key.

    Args:
        folder: the step's folder.
        rank: of this process, which has its own file.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._rank = rank
        self._read: _Records | None = None
        self._file: IO[bytes] | None = None

    @property
    def _records(self) -> _Records:
        if self._read is None:
            self._read = _read_records(self._folder, digests=False)
        return self._read

    @property
    def _keys(self) -> dict[str, str]:
        return self._records.keys

    def key(self, item: str) -> str | None:
        """Return the key an item was last recorded with (on any rank), or None."""
        return self._keys.get(item)

    def is_empty(self) -> bool:
        """Return whether no item is recorded."""
        return not self._keys

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all recorded items, to find those that the data no longer has."""
        return tuple(self._keys)

    def record(self, item: str, key: str, written: str | None = None) -> None:
        """Record that an item's files are written; call it after writing them.

        Args:
            item: the item's id.
            key: what decides the item's content besides the inputs (the photo's stamp, tags).
            written: sha256 (hex) of the file that was written, for `replaced_items`.
        """
        self._keys[item] = key
        self._append(item, key, written)

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
                    _delete(path)

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self, item: str, key: str | None, written: str | None = None) -> None:
        name = "items.jsonl" if self._rank == 0 else f"items.rank{self._rank}.jsonl"
        with readable_os_errors(self._folder / name):
            if self._file is None:
                self._file = _open(self._folder / name)
            line = {"id": item, "key": key, "session": self._records.sessions}
            line |= {} if written is None else {"written": written}
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()  # a killed process then loses at most the line being written


def _delete(path: Path) -> None:
    """Delete a file; ignore a name that no file can have: the journal may be damaged."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ENOTDIR):
            raise


def _open(path: Path) -> IO[bytes]:
    file = open_itself(path, "ab+")
    if file.tell() > 0:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":  # cut off by a kill: end that line, it will be ignored
            file.write(b"\n")
    return file


class _Records(NamedTuple):
    """What the journals of a folder hold.

    Attributes:
        keys: the last key of each item.
        sessions: number of sessions that wrote them.
        written: the last digest of each item's file, where it was recorded.
    """

    keys: dict[str, str]
    sessions: int
    written: dict[str, str]


def recorded_items(folder: Path) -> dict[str, str]:
    """Return the last key of each item over the journals of all ranks."""
    return _read_records(folder, digests=False).keys


def replaced_items(
    folder: Path,
    file_of: Callable[[str], Path],
    share: Callable[[Sequence[str]], Sequence[str]] = lambda items: items,
) -> list[str]:
    """Return the items whose file isn't the one that was written; missing files don't count.

    Args:
        folder: the step's folder.
        file_of: returns the file of an item whose digest was recorded.
        share: returns which of the items this process looks at.

    Raises:
        RunFolderError: no permission to read a file.
    """
    written = _read_records(folder, digests=True).written
    return sorted(
        item
        for item in share(sorted(written))
        if (file := file_of(item)).is_file() and file_digest(file) != written[item]
    )


def _read_records(folder: Path, *, digests: bool) -> _Records:
    """Read the journals; without ``digests``, which take much memory, ``written`` is empty."""
    last: dict[str, tuple[int, str | None, str | None]] = {}
    sessions = 0
    for path in sorted(folder.glob("items*.jsonl")):
        # A link to nothing is no journal.
        with readable_os_errors(path), suppress(FileNotFoundError), open_regular(path) as lines:
            for line in lines:
                parsed = _parsed(line)
                if parsed is None:
                    continue
                item, key, session, written = parsed
                sessions = max(sessions, session + 1)
                if item not in last or session >= last[item][0]:
                    last[item] = (session, key, written if digests else None)
    kept = {item: (key, written) for item, (_, key, written) in last.items() if key is not None}
    return _Records(
        {item: key for item, (key, _) in kept.items()},
        sessions,
        {item: written for item, (_, written) in kept.items() if written is not None},
    )


def _parsed(line: bytes) -> tuple[str, str | None, int, str | None] | None:
    """Return item, key, session and digest of a line; None: the line is incomplete or damaged."""
    try:
        entry = parse_json(line)
        item, key, session = checked_id(entry["id"]), entry["key"], entry["session"]
        written = entry.get("written")
    except (ValueError, KeyError, TypeError):
        return None
    valid = isinstance(key, str | None) and isinstance(session, int)
    return (item, key, session, written if isinstance(written, str) else None) if valid else None
