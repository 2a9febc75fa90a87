"""XML files, read one item at a time, with limits, so that crafted files get no further.

An item is an element directly inside the root. Document type declarations are refused, so no entity
can be expanded and no other file is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from tag2mask.errors import DataError
from tag2mask.files.regular_file import open_regular

MOST_DEPTH = 50
"""The most elements inside each other; the formats that are read have at most 6."""
MOST_ELEMENTS = 1_000_000
"""The most elements of one item."""
MOST_TEXT = 1 << 24
"""The most characters of text of one item."""
MOST_BYTES = 1 << 24
"""The most bytes of one tag with its attributes; the parser starts a tag again for each block."""
_BLOCK = 1 << 20
_FIRST_BLOCK = 1 << 12
"""Of an item that is read again; most have some thousand bytes."""
_WIDE = {"utf-16-le": (b"\xff\xfe", b"<\x00"), "utf-16-be": (b"\xfe\xff", b"\x00<")}
"""Encodings of two bytes per character, and how their files begin."""
_OUTER = "items"
_HEAD = 1 << 16
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(slots=True)
class XmlElement:
    """An element, its attributes, the elements inside it and the text directly inside it."""

    tag: str
    attributes: dict[str, str]
    children: list[XmlElement] = field(default_factory=list)
    text: str = ""
    start: int = 0
    """Of an item: the place of its first byte in the file, for `read_item`."""

    def child(self, tag: str) -> XmlElement | None:
        """Return the first element of a name directly inside, or None."""
        return next((child for child in self.children if child.tag == tag), None)

    def child_text(self, tag: str) -> str:
        """Return the text of the first element of a name directly inside, without outer spaces."""
        child = self.child(tag)
        return child.text.strip() if child else ""


def iterate_xml(file: IO[bytes], root: str | None = None) -> Iterator[XmlElement]:
    """Yield the elements directly inside the root, each complete.

    Args:
        file: an open XML file.
        root: name that the root must have; None: any.

    Raises:
        ValueError: not XML, of another root, with a document type declaration, or beyond the limits
            of this module.
        OSError: it can't be read.
    """
    items = _Items(root)
    while True:
        block = file.read(_BLOCK)
        items.feed(block)
        yield from items.complete
        items.complete.clear()
        if not block:
            return


def read_item(file: IO[bytes], start: int) -> XmlElement:
    """Read one item again.

    Args:
        file: the open file.
        start: the item's own.

    Raises:
        ValueError: no complete element begins there.
        OSError: it can't be read.
    """
    encoding = _encoding(file)
    file.seek(start)
    items = _Items(None, encoding)
    items.feed(f"<{_OUTER}>".encode(encoding if encoding in _WIDE else "ascii"))
    size = _FIRST_BLOCK
    while not items.complete:
        block = file.read(size)
        size = min(2 * size, _BLOCK)
        try:
            items.feed(block)
        except ValueError:  # what comes after the item, since its root has another name
            if not items.complete:
                raise
    return items.complete[0]


def _encoding(file: IO[bytes]) -> str | None:
    """Return the encoding of a file that declares one, or whose first bytes show it."""
    file.seek(0)
    head = file.read(256)
    for name, starts in _WIDE.items():
        if head.startswith(starts):
            return name
    found = re.match(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*\sencoding\s*=\s*["']([\w.-]+)["']""", head)
    return found[1].decode("ascii", "replace") if found else None


def root_element(path: Path) -> str:
    """Return the name of a file's first element by its first bytes; empty: it can't be read."""
    try:
        with open_regular(path) as file:
            found = re.search(rb"<([A-Za-z_]\w*)", file.read(_HEAD))
    except OSError:
        return ""
    return found[1].decode("ascii", "replace") if found else ""


class _Items:
    """Collects the elements inside the root while a file is parsed."""

    def __init__(self, root: str | None, encoding: str | None = None) -> None:
        self.complete: list[XmlElement] = []
        self._root = root
        self._open: list[XmlElement] = []
        self._count = self._characters = 0
        self._texts: list[list[str]] = []
        self._fed = 0
        self._parser = expat.ParserCreate(encoding and encoding.replace("16-", "16"))
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, block: bytes) -> None:
        """Parse a part of the file; an empty one is its end."""
        self._fed += len(block)
        if self._fed - max(self._parser.CurrentByteIndex, 0) > MOST_BYTES + _BLOCK:
            raise ValueError(f"a tag of more than {MOST_BYTES >> 20} MiB")
        try:
            self._parser.Parse(block, not block)
        except expat.ExpatError as error:
            raise ValueError(f"not XML: {error}") from None
        except LookupError as error:  # expat asks Python's codecs, some of which decode no text
            raise ValueError(f"not XML that can be decoded: {error}") from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        depth = len(self._open)
        if depth == 0 and self._root not in (None, tag):
            raise ValueError(f"the file begins with <{tag[:40]}>, not with <{self._root}>")
        if depth >= MOST_DEPTH:
            raise ValueError("elements are nested too deeply")
        if depth <= 1:
            self._count = self._characters = 0
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise ValueError(f"more than {MOST_ELEMENTS} elements in <{self._open[1].tag[:40]}>")
        element = XmlElement(tag, attributes)
        if depth == 1:
            element.start = self._parser.CurrentByteIndex
        if depth > 1:
            self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def _end(self, _: str) -> None:
        element = self._open.pop()
        element.text = "".join(self._texts.pop())
        if len(self._open) == 1:
            self.complete.append(element)

    def _text(self, text: str) -> None:
        if len(self._open) > 1:
            self._texts[-1].append(text)
            self._characters += len(text)
            if self._characters > MOST_TEXT:
                raise ValueError(f"more than {MOST_TEXT} characters in <{self._open[1].tag[:40]}>")

    def _doctype(self, *_: object) -> None:
        raise ValueError("a document type declaration, which annotations don't have")


def attribute(name: str, value: object) -> str:
    """Return an attribute as XML, with a space before it.

    Raises:
        DataError: it has characters that XML can't hold.

    >>> attribute("label", "a & b")
    ' label="a &amp; b"'
    """
    return f" {name}={quoteattr(_checked(str(value)))}"


def text_content(value: object) -> str:
    """Return a text as XML.

    Raises:
        DataError: it has characters that XML can't hold.
    """
    return escape(_checked(str(value)))


def _checked(text: str) -> str:
    if _NOT_IN_XML.search(text):
        raise DataError(f"XML can't hold the name {text!r}", fix="Rename the photo or the class.")
    return text
