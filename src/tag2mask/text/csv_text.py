"""Tables for people, who open them in a spreadsheet.

A spreadsheet evaluates a cell that begins like a formula, whoever chose the name of the photo or
class in it. Tables that are read back as data, such as ``tags.csv``, are not written here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows of texts and numbers as CSV in which no text is a formula.

    >>> print(csv_text([["photo", "gain"], ["=1+1", -0.3]]), end="")
    photo,gain
    '=1+1,-0.3
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows(
        [spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return table.getvalue()


def spreadsheet_text(text: str) -> str:
    """Return a text for a cell: with a ``'`` in front if it would begin like a formula.

    Texts that begin so after other ``'`` get one more, so that no two texts become the same.
    """
    return f"'{text}" if _FORMULA.match(text) else text
