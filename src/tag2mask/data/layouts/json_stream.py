"""Large JSON files an item at a time.

COCO's annotations are one object whose members are long arrays; the training set's is 450 MB, and
several gigabytes once parsed. Here the arrays' items come one by one, each with its place in the
file, so that a caller keeps what it needs and reads the rest again when it needs it.

The bytes are read as Latin-1: a character is then a byte, and JSON's own marks are ASCII. An item
that holds other characters is parsed again from its UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

_BLOCK = 1 << 22
_SPACE = " \t\n\r"
_AFTER_VALUE = tuple(_SPACE + ",:]}")
_decoder = json.JSONDecoder()


class Item(NamedTuple):
    """An item of one of the file's arrays."""

    array: str
    value: Any
    start: int
    """Offset of its first byte in the file."""
    raw: bytes
    """The item as it stands in the file."""


def iterate_items(path: Path, arrays: Collection[str]) -> Iterator[Item]:
    """Yield the items of the named top-level arrays, in the file's order.

    Args:
        path: a JSON file that holds one object.
        arrays: names of the members to yield; others are skipped.

    Raises:
        ValueError: not JSON, cut off, or not one object.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":  # a byte order mark is no JSON
            file.seek(0)
        stream = _Stream(file)
        stream.expect("{")
        while stream.next_mark() != "}":
            name, _, _ = stream.value()
            stream.expect(":")
            if stream.next_mark() != "[":
                stream.value()
            else:
                stream.expect("[")
                while stream.next_mark() != "]":
                    value, start, raw = stream.value()
                    if name in arrays:
                        yield Item(name, value, start, raw)
                    if stream.next_mark() != "]":
                        stream.expect(",")
                stream.expect("]")
            if stream.next_mark() != "}":
                stream.expect(",")


class _Stream:
    """A window on the file: text from ``position`` on is still to be read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = ""
        self._position = 0
        self._offset = file.tell()
        """Of the window's first character in the file."""

    def next_mark(self) -> str:
        """The next character that is no space, not consumed."""
        while True:
            while self._position < len(self._text):
                if self._text[self._position] not in _SPACE:
                    return self._text[self._position]
                self._position += 1
            if not self._more():
                raise ValueError("the file is cut off")

    def expect(self, mark: str) -> None:
        """Consume one character, which must be ``mark``."""
        found = self.next_mark()
        if found != mark:
            raise ValueError(
                f"{mark!r} expected, {found!r} found at byte {self._offset + self._position}"
            )
        self._position += 1

    def value(self) -> tuple[Any, int, bytes]:
        """Consume a value; returns it with its offset in the file and its bytes."""
        self.next_mark()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise ValueError(f"not JSON at byte {self._offset + error.pos}") from None
                continue
            # A number may go on in the next block: 2.5 | e3.
            if self._text[end : end + 1] in _AFTER_VALUE or not self._more():
                break
        start = self._offset + self._position
        raw = self._text[self._position : end].encode("latin-1")
        self._position = end
        return (value if raw.isascii() else json.loads(raw)), start, raw

    def _more(self) -> bool:
        """Append a block, dropping what has been consumed; False at the end of the file."""
        block = self._file.read(max(_BLOCK, len(self._text) - self._position))
        if not block:
            return False
        self._text = self._text[self._position :] + block.decode("latin-1")
        self._offset += self._position
        self._position = 0
        return True
