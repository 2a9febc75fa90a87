"""JSON from files, with limits, so that damaged and crafted files get no further."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

MOST_DEPTH = 100
"""The most arrays and objects inside each other; files of this package have less than 12."""
MOST_DIGITS = 25
"""The most characters of an integer; 64 bits have 19."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON: plain types, finite numbers.

    Args:
        text: the JSON; bytes are UTF-8. A byte order mark, as editors write it, is left out.

    Raises:
        ValueError: not JSON, nested too deeply, or a number that is too long or not finite.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = json.loads(
            text.removeprefix("\ufeff"),
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_not_finite,
        )
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(text)} characters")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if number - number != 0:  # infinite
        raise ValueError("a number that is too large")
    return number


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _check_depth(value: object) -> None:
    """Raise ValueError if arrays and objects are nested too deeply for code that recurses."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return
    raise _too_deep()


def _members(value: object) -> Iterable[object]:
    """Return the arrays and objects directly inside a value."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return ()
    return [inner for inner in value if isinstance(inner, dict | list)]


def _too_deep() -> ValueError:
    return ValueError("nested too deeply")
