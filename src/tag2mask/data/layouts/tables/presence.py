"""Columns that say whether a photo shows the class of its line, and columns of photo and class.

::

    ImageId,ClassId,EncodedPixels    Image_Label,EncodedPixels    image,label,present
    a.jpg,1,29102 12 29346 24        a.jpg_Fish,264918 937        a.jpg,cat,1
    a.jpg,2,                         a.jpg_Sugar,                 a.jpg,dog,0

Outlines are run-length codes as Kaggle has them: a line without one (empty or ``-1``) has no tag.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.ids import has_image_suffix
from tag2mask.data.layouts.tables.flags import flag_of
from tag2mask.formats.photo_names import PHOTO_SUFFIXES
from tag2mask.formats.tables.cell_table import CellTable, TableLine, unquoted
from tag2mask.text.letters import letters_of

_OUTLINES = frozenset(
    {"encodedpixels", "encodedmask", "encoding", "rle", "rlemask", "maskrle", "segmentation"}
    | {"segmentations", "annotation"}
)
_SCORES = frozenset({"confidence", "score", "probability", "prob", "certainty"})
_PRESENT = _SCORES | {"present", "presence", "ispresent", "positive", "value", "visible"}
_RUN_LENGTHS = re.compile(r"\d+ \d+( \d+ \d+)*")
_NO_OUTLINE = "-1"
_DOUBTFUL_SCORE = 0.5
_PAIR = re.compile(
    rf"(.+(?:{'|'.join(re.escape(suffix) for suffix in sorted(PHOTO_SUFFIXES))}))_(.+)",
    re.IGNORECASE,
)
"""A photo's file and a class, with an underscore between them."""


class PresenceColumns(NamedTuple):
    """Columns that say whether a photo shows the class of its line."""

    outlines: tuple[int, ...] = ()
    """Columns of run-length codes."""
    flags: tuple[int, ...] = ()
    """Columns of true and false, or of 1 and 0."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Return all columns."""
        return self.outlines + self.flags

    def shows(self, cells: Sequence[str]) -> bool:
        """Return whether the photo shows the class of a line with these cells."""
        return all(unquoted(cells[index]) not in ("", _NO_OUTLINE) for index in self.outlines) and (
            all(flag_of(unquoted(cells[index])) for index in self.flags)
        )


def find_presence(table: CellTable, used: Collection[int]) -> PresenceColumns:
    """Find the columns that say whether a photo shows the class of its line.

    Args:
        table: the table.
        used: columns that hold something else.
    """
    outlines: list[int] = []
    flags: list[int] = []
    for index, name in enumerate(table.header):
        letters = letters_of(name)
        cells = table.column(index)
        if index in used or not cells:
            continue
        if letters in _OUTLINES and _are_outlines(cells):
            outlines.append(index)
        elif letters in _PRESENT and cells.total() == len(table.lines):
            flags += [index] if None not in map(flag_of, cells) else []
    return PresenceColumns(tuple(outlines), tuple(flags))


def presence_remarks(table: CellTable, presence: PresenceColumns) -> list[str]:
    """Return how the columns of presence were understood."""
    remarks = [
        f"lines without run lengths in {table.header[index]!r} have no tag"
        for index in presence.outlines
    ]
    return remarks + [f"lines with 0 in {table.header[i]!r} have no tag" for i in presence.flags]


def low_scores(table: CellTable, used: Collection[int]) -> list[DataProblem]:
    """Return warnings of columns of scores, which are not read, with low ones.

    Args:
        table: the table.
        used: columns that are read.
    """
    problems = []
    for index, name in enumerate(table.header):
        letters = letters_of(name)
        scores = table.column(index)
        if index in used or letters not in _SCORES or not all(map(_is_share, scores)):
            continue
        low = sum(count for text, count in scores.items() if float(text) < _DOUBTFUL_SCORE)
        if low:
            message = (
                f"column {name!r} of {table.name} is not read: lines with a value below "
                f"{_DOUBTFUL_SCORE} ({low}) count like the others; remove those whose tags aren't "
                "sure"
            )
            problems.append(DataProblem(message, warning=True))
    return problems


def split_pairs(table: CellTable) -> CellTable:
    """Return a table with a column of photo and class as two columns; any other as it is."""
    if any(_all_match(table, index, has_image_suffix) for index in range(len(table.header))):
        return table
    pairs = [index for index in range(len(table.header)) if _all_match(table, index, _PAIR.match)]
    if len(pairs) != 1:
        return table
    [index] = pairs
    image, mark, label = table.header[index].rpartition("_")
    names = [image, label] if mark else [table.header[index], "class"]
    lines = [TableLine(line.number, _with_pair(line.cells, index)) for line in table.lines]
    header = [*table.header[:index], *names, *table.header[index + 1 :]]
    return table._replace(header=header, lines=lines)


def _with_pair(cells: list[str] | None, index: int) -> list[str] | None:
    """Return a line's cells with one of photo and class as two."""
    if cells is None or index >= len(cells):
        return cells
    pair = _PAIR.fullmatch(unquoted(cells[index]))
    both = list(pair.groups()) if pair else [cells[index], ""]
    return [*cells[:index], *both, *cells[index + 1 :]]


def _all_match(table: CellTable, index: int, test: Callable[[str], object]) -> bool:
    cells = table.column(index)
    return bool(cells) and all(test(cell) for cell in cells)


def _are_outlines(cells: Counter[str]) -> bool:
    """Return whether texts are run-length codes, or ``-1`` for none."""
    codes = [text for text in cells if text != _NO_OUTLINE]
    return bool(codes) and all(_RUN_LENGTHS.fullmatch(text) for text in codes)


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
