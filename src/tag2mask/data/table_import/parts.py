"""The parts of a table: the text that names their photos, and their tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tag2mask.classes import is_doubtful_name, name_kind
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.splits import usual_split
from tag2mask.data.layouts.tables.doubts import tag_doubts
from tag2mask.data.layouts.tables.headers import Columns
from tag2mask.data.layouts.tables.lines import LineReader
from tag2mask.data.layouts.tables.tags import find_style
from tag2mask.data.table_import.options import ImportOptions
from tag2mask.errors import first_few, nearest_hint
from tag2mask.formats.tables.cell_table import CellTable, unquoted

EMPTY_CELL = "empty cell"


@dataclass(frozen=True)
class Part:
    """One part of a table, of all its rows.

    Attributes:
        text: what its rows call it.
        tags: its tags, each once, in the order of the table.
        split: the split that the table gives it; empty: none.
        group: the group that the table gives it; empty: none.
        where: file and line of its first row.
    """

    text: str
    tags: tuple[str, ...]
    split: str
    group: str
    where: str


@dataclass
class Parts:
    """The parts of a table, and what reading them showed."""

    parts: list[Part] = field(default_factory=list)
    no_tag: Counter[str] = field(default_factory=Counter)
    """Rows that have no tag, by the text that says so."""
    unlabeled: list[str] = field(default_factory=list)
    """Parts left out, since their rows say that nobody has looked."""
    unnamed: list[str] = field(default_factory=list)
    """File and line of the rows without a name of a part."""
    remarks: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """All tags of the rows before they are renamed, in lower case."""


class _TagRules:
    """Renames tags, and leaves out the texts that mean no tag."""

    def __init__(self, options: ImportOptions) -> None:
        self._no_tag = {text.casefold() for text in options.no_tag}
        self._options = options

    def apply(self, tags: Iterable[str], found: Parts) -> tuple[str, ...] | None:
        """Return a row's tags; None where it says that nobody has looked."""
        kept: list[str] = []
        left_out: list[str] = []
        for tag in tags:
            found.seen.add(tag.casefold())
            name = self._options.new_name(tag)
            no_class = name_kind(name) != "class" or name.casefold() in self._no_tag
            (left_out if no_class or tag.casefold() in self._no_tag else kept).append(name)
        if not kept and any(name_kind(name) in ("unlabeled", "ignore") for name in left_out):
            return None
        if not kept:
            found.no_tag[left_out[0] if left_out else EMPTY_CELL] += 1
        return tuple(dict.fromkeys(kept))


def read_parts(
    table: CellTable,
    columns: Columns,
    options: ImportOptions,
    obstacles: list[str],
) -> Parts:
    """Read the parts of a table; the rows of one part are joined.

    Args:
        table: the table.
        columns: what its columns hold; ``id`` names the parts.
        options: separator, texts that mean no tag, new names.
        obstacles: extended by lines that can't be read.
    """
    cells = (cell for index in columns.tags for cell in table.cells(index))
    style = find_style(cells, one_name=columns.one_name, quotes_all=table.quotes_all)
    if options.separator:
        style = style._replace(separators=re.escape(options.separator), one_name=True)
    reader = LineReader(table, columns, style)
    rules = _TagRules(options)
    found = Parts(warnings=[p.message for p in columns.problems])
    joined: dict[str, Part] = {}
    assert columns.id is not None
    for line in table.lines:
        row = reader.cells(line)
        where = table.where(line)
        if isinstance(row, DataProblem):
            obstacles.append(row.message)
            continue
        tags = reader.tags(row, where)
        if isinstance(tags, DataProblem):
            obstacles.append(tags.message)
            continue
        text = unquoted(row[columns.id])
        if not text:
            found.unnamed.append(where)
            continue
        kept = rules.apply(tags, found)
        if kept is None:
            found.unlabeled.append(text)
        else:
            group = "" if columns.group is None else unquoted(row[columns.group])
            part = Part(text, kept, columns.split.split_of(row), group, where)
            joined[text] = _joined(joined[text], part, obstacles) if text in joined else part
    found.parts = list(joined.values())
    found.unlabeled = [text for text in dict.fromkeys(found.unlabeled) if text not in joined]
    found.remarks = columns.remarks + reader.remarks
    found.warnings += [problem.message for problem in tag_doubts(reader.tagged)]
    found.warnings += _doubtful(found.parts)
    return found


def _joined(part: Part, row: Part, obstacles: list[str]) -> Part:
    """Return a part with one more row."""
    for what, own, other in (
        ("split", _split(part), _split(row)),
        ("group", part.group, row.group),
    ):
        if own != other:
            obstacles.append(
                f"{part.text!r} has {what} {own!r} in {part.where} and {other!r} in {row.where}; "
                "correct one of the two"
            )
    return replace(part, tags=tuple(dict.fromkeys([*part.tags, *row.tags])))


def _split(part: Part) -> str:
    return usual_split(part.split or "train") or part.split


def unknown_renames(options: ImportOptions, seen: set[str]) -> list[str]:
    """Return the obstacles of names to rename that are not among the tags ``seen``."""
    return [
        f"--rename: no row has the tag {old!r}{nearest_hint(old.casefold(), seen)}"
        for old in options.rename
        if old.casefold() not in seen
    ]


def _doubtful(parts: Sequence[Part]) -> list[str]:
    """Return a warning of tags that often mean no tag."""
    names = sorted({tag for part in parts for tag in part.tags if is_doubtful_name(tag)})
    if not names:
        return []
    shown = first_few(map(repr, names))
    return [f"{shown} count as classes; if they mean no tag, give --no-tag {','.join(names)!r}"]
