"""Cells that say yes or no, or how many."""

from __future__ import annotations

import re

_FLAGS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "t", "x", "wahr", "ja"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "f", "falsch", "nein"), False),
}
_COUNT = re.compile(r"[0-9]+(\.[0-9]+)?")


def flag_of(text: str) -> bool | None:
    """Return whether a cell says true (1, yes) or false; None: neither."""
    return _FLAGS.get(text.lower())


def is_marked(text: str) -> bool:
    """Return whether a cell in the column of a class says that the photo shows it: true, or 3."""
    flag = flag_of(text)
    return flag if flag is not None else (count_of(text) or 0) > 0


def count_of(text: str) -> float | None:
    """Return the number in a cell; None: it has none, or a negative one."""
    return float(text) if _COUNT.fullmatch(text) else None
