"""JSON files that are read as a whole, with limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tag2mask.errors import DataError
from tag2mask.files.regular_file import open_regular
from tag2mask.formats.text_files.readable import readable
from tag2mask.text.json_text import parse_json

MOST_BYTES = 1 << 28
"""The largest file that is read as a whole."""
MOST_VALUES = 20_000_000
"""The most objects, lists and values of a file, which take much more memory than its bytes."""


def read_json_file(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: missing, larger than `MOST_BYTES`, of more than `MOST_VALUES`, or not JSON.
    """
    with readable(path), open_regular(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(
            f"more than {MOST_BYTES >> 20} MiB of JSON", where=path, fix="Split the file."
        )
    if sum(map(content.count, (b"{", b"[", b","))) > MOST_VALUES:
        raise DataError(f"more than {MOST_VALUES} values", where=path, fix="Split the file.")
    try:
        return parse_json(content)
    except ValueError as error:
        raise DataError(f"not JSON: {error}", where=path, fix="Export it again.") from None
