"""Parts of values for messages, which must not grow with what is in a file."""

from __future__ import annotations

LONGEST_VALUE = 80
"""Characters of a value in a message."""


def shortened(text: str, most: int) -> str:
    """Return a text of at most about ``most`` characters: without its middle if it is longer.

    >>> shortened("0123456789" * 10, 20)
    '0123456789 [... 80 more characters ...] 0123456789'
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} [... {len(text) - 2 * half} more characters ...] {text[-half:]}"


def excerpt(value: object) -> str:
    """Return a value as Python writes it, shortened."""
    return shortened(repr(value), LONGEST_VALUE)
