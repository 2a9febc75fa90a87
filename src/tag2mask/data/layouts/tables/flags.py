"""Cells that say yes or no."""

from __future__ import annotations

_FLAGS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "t", "x", "wahr", "ja"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "f", "falsch", "nein"), False),
}


def flag_of(text: str) -> bool | None:
    """Return whether a cell says true (1, yes) or false; None: neither."""
    return _FLAGS.get(text.lower())
