"""Lines of a text file in any of the usual encodings."""

from __future__ import annotations

import codecs
from pathlib import Path

from tag2mask.errors import DataError
from tag2mask.files.regular_file import open_regular
from tag2mask.formats.text_files.readable import readable

_FIX = "Save it as UTF-8."


def read_lines(path: Path, encoding: str | None = None) -> list[str]:
    """Return the lines of a text file.

    Args:
        path: the file.
        encoding: Python's name of its encoding; None: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        DataError: it can't be read or has another encoding.
    """
    try:
        with readable(path):
            chosen = encoding or _unicode_encoding(path)
            # Not splitlines(), which splits at characters that a name may contain.
            return path.read_text(encoding=chosen).split("\n")
    except UnicodeError:
        if encoding is None:
            raise DataError("not UTF-8 text", where=path, fix=_FIX) from None
        raise DataError(f"not {encoding} text", where=path, fix=_FIX) from None
    except LookupError:
        raise DataError(
            f"no encoding is called {encoding!r}",
            where=path,
            fix="Give one such as utf-8.",
        ) from None


def text_encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-8, UTF-16 with a byte order mark, or else cp1252.

    Raises:
        DataError: it can't be read.
    """
    try:
        with readable(path):
            encoding = _unicode_encoding(path)
            path.read_text(encoding=encoding)
    except UnicodeError:
        return "cp1252"
    return encoding


def _unicode_encoding(path: Path) -> str:
    with open_regular(path) as file:
        utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "utf-16" if utf16 else "utf-8-sig"
