"""Large JSON files, read one array item at a time.

COCO's annotations are one object whose members are long arrays; the file of the training set has
450 MB, and takes several gigabytes once parsed. Here the items are read one by one, each with its
position in the file, so that a caller keeps what it needs and reads the rest later.

The bytes are decoded as Latin-1: a character is then a byte, and JSON's own characters are ASCII.
An item with other characters is parsed a second time from its UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from tag2mask.files.regular_file import open_regular

_BLOCK = 1 << 22
_SPACE = " \t\n\r"
_AFTER_VALUE = tuple(_SPACE + ",:]}")
_decoder = json.JSONDecoder()


class ArrayItem(NamedTuple):
    """One item of a top-level array."""

    array: str
    value: Any
    start: int
    """Offset of its first byte in the file."""
    raw: bytes
    """The bytes of the item in the file."""


def iterate_items(path: Path, arrays: Collection[str]) -> Iterator[ArrayItem]:
    """Yield the items of the named top-level arrays, in the file's order.

    Args:
        path: a JSON file with one object.
        arrays: names of the members to yield; others are skipped.

    Raises:
        ValueError: not JSON, cut off, or not one object.
        OSError: it can't be read.
    """
    with _opened(path) as stream:
        stream.expect("{")
        while stream.peek() != "}":
            name, _, _ = stream.read_value()
            stream.expect(":")
            if stream.peek() != "[":
                stream.read_value()
            else:
                for item in _items(stream, name):
                    if name in arrays:
                        yield item
            if stream.peek() != "}":
                stream.expect(",")


def iterate_list(path: Path) -> Iterator[ArrayItem]:
    """Yield the items of a JSON file that is one array, each with an empty name of the array.

    Raises:
        ValueError: not JSON, cut off, or not one array.
        OSError: it can't be read.
    """
    with _opened(path) as stream:
        yield from _items(stream, "")


@contextmanager
def _opened(path: Path) -> Iterator[_JsonReader]:
    with open_regular(path) as file:
        if file.read(3) != b"\xef\xbb\xbf":  # skip a byte order mark
            file.seek(0)
        yield _JsonReader(file)


def _items(stream: _JsonReader, name: str) -> Iterator[ArrayItem]:
    """Consume an array and yield its items."""
    stream.expect("[")
    while stream.peek() != "]":
        value, start, raw = stream.read_value()
        yield ArrayItem(name, value, start, raw)
        if stream.peek() != "]":
            stream.expect(",")
    stream.expect("]")


class _JsonReader:
    """Reads JSON values through a window on the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = ""
        self._position = 0
        """Of the next unread character in the window."""
        self._offset = file.tell()
        """Of the window's first character in the file."""

    def peek(self) -> str:
        """Return the next character that is not a space, without consuming it."""
        while True:
            while self._position < len(self._text):
                if self._text[self._position] not in _SPACE:
                    return self._text[self._position]
                self._position += 1
            if not self._read_block():
                raise ValueError("the file is cut off")

    def expect(self, character: str) -> None:
        """Consume one character, which must be ``character``."""
        found = self.peek()
        if found != character:
            raise ValueError(
                f"{character!r} expected, {found!r} found at byte {self._offset + self._position}"
            )
        self._position += 1

    def read_value(self) -> tuple[Any, int, bytes]:
        """Consume a value; return it with its offset in the file and its bytes."""
        self.peek()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if not self._read_block():
                    raise ValueError(f"not JSON at byte {self._offset + error.pos}") from None
                continue
            except RecursionError:
                at = self._offset + self._position
                raise ValueError(f"nested too deeply at byte {at}") from None
            # A number may continue in the next block: 2.5 | e3.
            if self._text[end : end + 1] in _AFTER_VALUE or not self._read_block():
                break
        start = self._offset + self._position
        raw = self._text[self._position : end].encode("latin-1")
        self._position = end
        return (value if raw.isascii() else json.loads(raw)), start, raw

    def _read_block(self) -> bool:
        """Append a block and drop what has been consumed; return False at the end of the file."""
        block = self._file.read(max(_BLOCK, len(self._text) - self._position))
        if not block:
            return False
        self._text = self._text[self._position :] + block.decode("latin-1")
        self._offset += self._position
        self._position = 0
        return True
