"""The letters of names, by which spellings of one name are compared."""

from __future__ import annotations

import re


def letters_of(name: str) -> str:
    """Return the letters and digits of a name in lower case.

    >>> letters_of("Is_Train 2")
    'istrain2'
    """
    return re.sub(r"[\W_]", "", name.casefold())
