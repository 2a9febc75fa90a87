"""The tags in a table's cells.

Several tags are separated by ``;`` or ``|``. Where no cell of the table has one, commas separate
them (in a quoted cell), else spaces; a space is part of a name where the column holds one name per
cell. The wide ``；``, ``｜``, ``，`` and ``、`` count like these. Quotes hold a name together:
``"traffic light" car``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from tag2mask.classes import name_kind
from tag2mask.data.layouts.tables.lists import is_list, names_of_list
from tag2mask.formats.tables.cell_table import inside_quotes

CONNECTORS = frozenset({"&", "+", "/", "and", "und", "et"})
"""Words between tags that are separated by spaces."""
_MARKS = ";|\n；｜"
COMMAS = ",，、"
_RUN = re.compile(r'"([^"]*)"|[^"]+')
_SAME_NAME, _SAME_WORD = 0.8, 0.6
"""Similarity (difflib's ratio) from which an unknown name or word may be a known one misspelled."""


class TagStyle(NamedTuple):
    """How the cells of a table hold tags.

    Attributes:
        separators: characters between tags; empty: spaces, or nothing.
        one_name: a cell without separators holds one name, whatever its spaces.
        quotes_all: every text in the file is quoted, so outer quotes have no meaning.
        known: class names, if the data lists them.
    """

    separators: str = ""
    one_name: bool = False
    quotes_all: bool = False
    known: frozenset[str] = frozenset()

    @property
    def by_spaces(self) -> bool:
        """Return whether spaces separate tags."""
        return not self.separators and not self.one_name

    def describe(self) -> str:
        """Return what separates several tags, for messages."""
        if self.by_spaces:
            return "spaces"
        return "commas" if self.separators == COMMAS else "';' or '|'"


class CellTags(NamedTuple):
    """The tags of a cell, each once."""

    names: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    """Names of several words that no quotes hold together."""
    bare: tuple[str, ...] = ()
    """Names that only spaces separate."""
    connected: bool = False
    """A word such as ``&`` was between tags."""


def find_style(
    cells: Iterable[str], *, one_name: bool, quotes_all: bool, known: Iterable[str] = ()
) -> TagStyle:
    """Find how the tags of a column are separated.

    Args:
        cells: its cells as they are in the file.
        one_name: its name says that a cell holds one name.
        quotes_all: every text in the file is quoted.
        known: class names, if the data lists them.
    """
    style = TagStyle("", one_name, quotes_all, frozenset(known))
    found: set[str] = set()
    for cell in cells:
        text = _text(cell)
        marked = any(mark in text for mark in _MARKS + COMMAS)
        if marked and text not in style.known and not is_list(text):
            found.update(re.sub(r'"[^"]*"', "", text))
    if found & set(_MARKS):
        return style._replace(separators=_MARKS)
    return style._replace(separators=COMMAS if found & set(COMMAS) else "")


@lru_cache(maxsize=10_000)  # many photos have the same tags
def tags_of_cell(cell: str, style: TagStyle) -> CellTags:
    """Split a cell of tags as it is in the file, quotes included.

    Raises:
        ValueError: it holds a list of something other than names.
    """
    text = _text(cell)
    if not text or text in style.known:
        return CellTags((text,) if text else ())
    if is_list(text):
        return CellTags(tuple(dict.fromkeys(names_of_list(text))))
    if _is_quoted_name(cell, text, style):
        return CellTags(tuple(_known_names(text.split(), style.known) or [text]))
    names: list[str] = []
    loose: list[str] = []
    bare: list[str] = []
    connected = False
    for run in _RUN.finditer(text):
        if run[1] is not None:
            names.append(run[1].strip())
            continue
        for piece in re.split(f"[{style.separators}]", run[0]) if style.separators else [run[0]]:
            words = piece.split()
            found = _names_of_words(words, style)
            names += found
            bare += found if style.by_spaces else []
            loose += [name for name in found if " " in name and name not in style.known]
            connected |= style.by_spaces and len(found) < len(words) and len(found) > 1
    unique = tuple(name for name in dict.fromkeys(names) if name)
    return CellTags(unique, tuple(loose), tuple(bare), connected)


def _text(cell: str) -> str:
    """Return the text of a cell without outer spaces and without the quotes of the file."""
    inner = inside_quotes(cell.strip())
    return cell.strip() if inner is None else inner.strip()


def _is_quoted_name(cell: str, text: str, style: TagStyle) -> bool:
    """Return whether a cell is quoted as one name, not because a program quotes cells."""
    quoted = cell.strip() != text and not style.quotes_all
    return quoted and '"' not in text and not any(mark in text for mark in style.separators)


def _names_of_words(words: Sequence[str], style: TagStyle) -> list[str]:
    """Return the names in words between separators and quotes."""
    name = " ".join(words)
    if len(words) < 2 or name in style.known:
        return [name]
    if style.known:
        return _known_names(words, style.known) or _unknown_names(tuple(words), style.known)
    if not style.by_spaces:
        return [name]
    if name_kind(name) != "class" and any(name_kind(word) == "class" for word in words):
        return [name]  # `no label`
    inside = [word for word in words[1:-1] if word.casefold() not in CONNECTORS]
    return [words[0], *inside, words[-1]]


def _known_names(words: Sequence[str], known: frozenset[str]) -> list[str]:
    """Return the known names that words consist of, the longest first; empty: they don't."""
    names: list[str] = []
    start = 0
    while start < len(words):
        for end in range(len(words), start, -1):
            name = " ".join(words[start:end])
            if name in known or (known and end == start + 1 and name_kind(name) != "class"):
                names.append(name)
                start = end
                break
        else:
            return []
    return names


@lru_cache(maxsize=1000)
def _unknown_names(words: tuple[str, ...], known: frozenset[str]) -> list[str]:
    """Return words as tags where each is known or resembles a known name, else as one name.

    The tags end up in a message that they are unknown: halves of a name would mislead.
    """
    name = " ".join(words)
    single = [name for name in known if " " not in name]
    close = [
        word in known or difflib.get_close_matches(word, single, n=1, cutoff=_SAME_WORD)
        for word in words
    ]
    is_name = difflib.get_close_matches(name, known, n=1, cutoff=_SAME_NAME)
    return list(words) if all(close) and not is_name else [name]
