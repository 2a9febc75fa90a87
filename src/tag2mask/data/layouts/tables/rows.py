"""Rows of a table of tags, and the lines of one photo joined: many tools write one line per tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.splits import usual_split
from tag2mask.errors import first_few


class TagRow(NamedTuple):
    """One line of a table; paths are normalized (see `normalize_path`), tags are split."""

    id: str
    image: str
    """Empty where the table has ids only; may be an address of another tool (see `is_address`)."""
    tags: tuple[str, ...]
    split: str
    mask: str
    where: str
    """File and line, for messages."""
    group: str = ""
    """Photos of one group are never divided between training and validation; empty: alone."""


class JoinedRows(NamedTuple):
    """One row per photo, and what joining its lines showed."""

    rows: tuple[TagRow, ...]
    problems: tuple[DataProblem, ...]
    remarks: tuple[str, ...]


def join_rows(rows: Sequence[TagRow], *, may_be_empty: bool = False) -> JoinedRows:
    """Join the rows of each photo: it has the tags of all its lines.

    Lines of one photo with different splits, masks or groups are errors; that some lines have
    no tag or several is a warning, since the table then isn't one of one tag per line.

    Args:
        rows: the lines.
        may_be_empty: a line without a tag says that the photo doesn't show one.
    """
    rows, remarks = _named_by_image(rows)
    lines: dict[tuple[str, str], list[TagRow]] = {}
    for row in rows:
        lines.setdefault((row.id, row.image), []).append(row)
    repeated = [own for own in lines.values() if len(own) > 1]
    problems = [problem for own in repeated for problem in _conflicts(own)]
    if repeated:
        shown = first_few((_describe(own) for own in repeated), 3)
        message = f"several lines of one photo are read as one, with all their tags: {shown}"
        if all(
            len(row.tags) == 1 or (may_be_empty and not row.tags) for own in repeated for row in own
        ):
            remarks += (message,)
        else:
            fix = "write one line per photo with all its tags, or one line per tag"
            problems.append(DataProblem(f"{message}; {fix}", warning=True))
    return JoinedRows(tuple(map(_joined, lines.values())), tuple(problems), remarks)


def _joined(rows: Sequence[TagRow]) -> TagRow:
    """Return the row of a photo's lines."""
    if len(rows) == 1:
        return rows[0]
    tags = dict.fromkeys(tag for row in rows for tag in row.tags)
    mask = next((row.mask for row in rows if row.mask), "")
    group = next((row.group for row in rows if row.group), "")
    return rows[0]._replace(tags=tuple(tags), mask=mask, group=group)


def _conflicts(rows: Sequence[TagRow]) -> list[DataProblem]:
    """Return a problem where the lines of a photo disagree on its split, mask or group."""
    problems = []
    for row in rows[1:]:
        for what, own, other in (
            ("split", rows[0].split or "train", row.split or "train"),
            ("mask", rows[0].mask or row.mask, row.mask or rows[0].mask),
            ("group", rows[0].group or row.group, row.group or rows[0].group),
        ):
            if own != other and (what != "split" or _plain(own) != _plain(other)):
                problems.append(
                    DataProblem(
                        f"photo {row.id!r} has {what} {own!r} in {rows[0].where} and {other!r} in "
                        f"{row.where}; correct one of the two"
                    )
                )
    return problems


def _plain(split: str) -> str:
    return usual_split(split) or split


def _describe(rows: Sequence[TagRow]) -> str:
    return f"{rows[0].id!r} ({first_few((row.where for row in rows), 2)})"


def _named_by_image(rows: Sequence[TagRow]) -> tuple[Sequence[TagRow], tuple[str, ...]]:
    """Return rows named by their images where the numbers in column ``id`` aren't those of photos.

    They may number the lines, or the classes.
    """
    pairs = {(row.id, row.image) for row in rows}
    photos, ids = {image for _, image in pairs}, {id for id, _ in pairs}
    if len(pairs) == len(photos) == len(ids) or not all(row.image for row in rows):
        return rows, ()
    if not all(id.isdecimal() for id in ids):
        return rows, ()
    named = [row._replace(id=without_suffix(row.image)) for row in rows]
    return named, ("photos are named by their files: the numbers in `id` are not theirs alone",)
