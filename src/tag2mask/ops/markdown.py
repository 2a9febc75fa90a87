"""Tables in Markdown that also read well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in columns of equal width: the first aligned left, the others right.

    Args:
        head: names of the columns.
        rows: cells, as many as the head has; bars in them are escaped.
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.rjust(width) if i else cell.ljust(width)
                        for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
             for row in cells]
    rule = "|".join("-" * (width + 1) + ":" if i else ":" + "-" * (width + 1)
                    for i, width in enumerate(widths))
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])
