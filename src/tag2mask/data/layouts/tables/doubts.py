"""Tags that may mean something else; one warning per kind, with what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tag2mask.classes import name_kind
from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.tables.tags import CellTags
from tag2mask.errors import first_few

_COMPOUND = re.compile(r".*\w\s*[/&+]\s*\w.*")
_COUNT = re.compile(r"\d+|\d+ ?[x×]( .*)?|(.* )?[x×] ?\d+", re.IGNORECASE)
_SCORED = re.compile(r"\D.*[:=(]\s*[+-]?\d*\.?\d+\s*%?\)?|\(\d*\.?\d+%?\)")
"""``cat:0.9``, ``cat=1``, ``cat (93%)``; also the second half of the last."""
_LIST_THEM = "list the classes in classes.txt"


class TaggedCell(NamedTuple):
    """The tags of a cell and its line."""

    where: str
    tags: CellTags


def tag_doubts(cells: Sequence[TaggedCell]) -> list[DataProblem]:
    """Return warnings of tags that no list of classes names and that may be misread."""
    names = {n for cell in cells for n in cell.tags.names if name_kind(n) == "class"}
    loose = {name for cell in cells for name in cell.tags.loose}
    alone = {cell.tags.names[0] for cell in cells if len(cell.tags.names) == 1}

    def of(test: Callable[[str], bool]) -> list[str]:
        return sorted(name for name in names if test(name))

    messages = [
        _message(
            "tags that may be several each were read as one class",
            of(lambda name: bool(_COMPOUND.fullmatch(name))),
            cells,
            f"separate them by ';', or if each is one class, {_LIST_THEM}",
        ),
        _message(
            "names that consist of other tags were read as one class each",
            of(lambda name: name in loose and all(word in names for word in name.split())),
            cells,
            f"if each is several tags, separate them by ';'; if it is one, {_LIST_THEM}",
        ),
        _message(
            "numbers were read as tags",
            of(
                lambda name: (
                    bool(_COUNT.fullmatch(name)) and not (name.isdecimal() and name in alone)
                )
            )
            if not _are_numbers(names)
            else [],
            cells,
            f"write each class once per photo, without a number; if it is a class, {_LIST_THEM}",
        ),
        _message(
            "tags with a number were read as they are, number included",
            of(lambda name: bool(_SCORED.fullmatch(name))),
            cells,
            f"write the name alone where the photo shows the class; if it is one, {_LIST_THEM}",
        ),
        _connected(cells),
        _cut_names(cells),
    ]
    return [DataProblem(message, warning=True) for message in messages if message]


def _message(what: str, names: Sequence[str], cells: Sequence[TaggedCell], fix: str) -> str:
    """Return a warning of some tags with the lines that have them; empty where there are none."""
    if not names:
        return ""
    chosen = set(names)
    lines = [cell.where for cell in cells if not chosen.isdisjoint(cell.tags.names)]
    return f"{what}: {first_few(map(repr, names))} ({first_few(lines, 3)}): {fix}"


def _connected(cells: Sequence[TaggedCell]) -> str:
    lines = [cell.where for cell in cells if cell.tags.connected]
    if not lines:
        return ""
    return (
        f"words such as '&' were read as separators of tags ({first_few(lines, 3)}): if they are "
        "part of a name, put the name in quotes"
    )


def _cut_names(cells: Sequence[TaggedCell]) -> str:
    """Return a warning of tags that are always side by side: probably words of one name."""
    counts: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        counts.update(cell.tags.names)
        pairs.update(pairwise(name for name in cell.tags.bare if name_kind(name) == "class"))
    chains = [
        [one, other]
        for (one, other), count in sorted(pairs.items())
        if (counts[one] == counts[other] == count >= 2)
        or (count in (counts[one], counts[other]) and count >= 3)
    ]
    for chain in list(chains):  # three words in a row
        following = [c for c in chains if c[0] == chain[-1] and c is not chain]
        if len(following) == 1:
            chain += following[0][1:]
            chains.remove(following[0])
    if not chains:
        return ""
    shown = first_few(repr(" ".join(chain)) for chain in chains)
    first = {(chain[0], chain[1]) for chain in chains}
    lines = [cell.where for cell in cells if not first.isdisjoint(pairwise(cell.tags.bare))]
    return (
        f"words that are always side by side were read as a tag each: {shown} "
        f"({first_few(lines, 3)}): if they are one name, end each name by ';', put it in quotes, "
        f"or {_LIST_THEM}"
    )


def _are_numbers(names: set[str]) -> bool:
    return all(name.isdecimal() for name in names)
