"""What the columns of a table hold, by their names and, where these are ambiguous, their cells.

The documented names are ``image``, ``id``, ``tags``, ``split``, ``mask`` and ``group``. Tables of
other tools call them ``file_name``, ``labels`` or ``Class``; such a name is taken where exactly one
column can be meant. Case, spaces and punctuation don't matter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem
from tag2mask.data.layouts.ids import has_image_suffix
from tag2mask.data.layouts.tables.flags import count_of, flag_of
from tag2mask.data.layouts.tables.one_hot import ClassColumns, find_class_columns
from tag2mask.data.layouts.tables.presence import (
    PresenceColumns,
    find_presence,
    low_scores,
    presence_remarks,
)
from tag2mask.data.layouts.tables.split_columns import SplitColumns, find_split_columns
from tag2mask.errors import DataError, first_few
from tag2mask.formats.tables.cell_table import CellTable
from tag2mask.text.letters import letters_of

_ONE_NAME = frozenset(
    {"tag", "label", "class", "category", "classname", "labelname", "categoryname", "tagname"}
    | {"classlabel", "imagelabel", "choice", "target", "groundtruth"}
)
"""Columns with one name per cell: a space in it is part of the name."""
_TOPICS = frozenset({"klasse", "species", "defect", "finding", "findinglabels", "diagnosis"})
"""Columns of tags unless there are others, or they are true and false: `defect` may be a class."""
_TOPICS_OR_COUNTS = frozenset(
    {"defects", "defecttype", "defecttypes", "defectcode", "findings", "faults", "fault"}
    | {"fehler", "fehlerart", "fehlertyp", "defekt", "defekte", "mangel", "mängel"}
)
"""The same, unless they have numbers only: `defects` may count them."""
_NUMBERS_OF_CLASSES = frozenset({"classid", "labelid", "categoryid"})
"""Columns of tags where nothing else has the names."""
_SEVERAL_NAMES = frozenset(
    {"tags", "labels", "classes", "categories", "keywords", "choices", "targets"}
)
_NAMES = {
    "image": frozenset(
        {"image", "images", "imagepath", "imagefile", "imagefilename", "imagename", "img"}
        | {"imgpath", "imgfile", "imgname", "filename", "filepath", "file", "path", "photo"}
        | {"photopath", "photofile", "photoname", "picture"}
    ),
    "id": frozenset({"id", "imageid", "photoid", "imgid"}),
    "tags": _ONE_NAME | _SEVERAL_NAMES,
    "split": frozenset({"split"}),
    "mask": frozenset({"mask", "masks", "maskpath", "maskfile", "maskfilename", "maskname"}),
    "group": frozenset({"group"}),
}
"""Names of columns, in lower case and without punctuation."""
_NUMBERED = re.compile(r"([a-z]+)\d+")


class Columns(NamedTuple):
    """Which column of a table holds what; None: no column."""

    image: int | None
    id: int | None
    tags: tuple[int, ...]
    one_name: bool
    """A cell of tags holds one name; spaces are part of it."""
    classes: tuple[int, ...]
    """Columns of 0 and 1, each named after its class; there are no tags then."""
    presence: PresenceColumns
    """Columns that say of tags in other columns whether the photo shows them."""
    split: SplitColumns
    mask: int | None
    problems: tuple[DataProblem, ...]
    remarks: tuple[str, ...]
    guessed_tags: bool
    """No name says that the column of tags is one; it is the other one of two."""
    group: int | None = None

    @property
    def required(self) -> int:
        """Return the last column that a line must have."""
        return max(i for i in (self.image, self.id, *self.tags[:1]) if i is not None)


def find_columns(table: CellTable, photos: int | None = None) -> Columns:
    """Find the columns of a table.

    Args:
        table: the table.
        photos: the column that names the photos; None: found by its name or its cells.

    Raises:
        DataError: a required column is missing, or several columns may be meant.
    """
    found = {role: _candidates(table, role) for role in _NAMES}
    if photos is not None:
        found = {role: [i for i in own if i != photos] for role, own in found.items()}
        found |= {"image": [], "id": [photos]}
    elif not found["image"] and not found["id"]:
        found["image"] = _photo_columns(table)
    named = found["image"] or found["id"]
    split = _split_columns(table, found)
    if not found["tags"]:  # a class may be called `group`
        found["group"] = [i for i in found["group"] if None in map(flag_of, table.column(i))]
    presence = find_presence(table, _used(found))
    classes, guessed = ClassColumns((), ()), False
    if named and not found["tags"]:
        classes, found["tags"], guessed = _unnamed_tags(table, _used(found), named[0], presence)
    if classes.indices:
        presence = PresenceColumns()
    _check_required(table, bool(found["tags"] or classes.indices), bool(named), presence)
    for role, columns in found.items():
        if len(columns) > 1 and role != "split" and not _are_numbered(table, columns):
            raise _ambiguous(table, role, columns)
    one = {role: columns[0] if columns else None for role, columns in found.items()}
    tags = tuple(found["tags"])
    used = {*_used(found), *classes.indices, *presence.columns}
    return Columns(
        one["image"],
        one["id"],
        tags,
        not any(holds_several(table.header[index]) for index in tags),
        classes.indices,
        presence,
        split,
        one["mask"],
        (*classes.problems, *_misspelled(table, used), *low_scores(table, used)),
        tuple(_remarks(table, found, classes.indices, presence)),
        guessed,
        one["group"],
    )


def holds_several(name: str) -> bool:
    """Return whether a column's name says that a cell may hold several tags."""
    return _base(name) in _SEVERAL_NAMES


def _unnamed_tags(
    table: CellTable, used: Collection[int], photos: int, presence: PresenceColumns
) -> tuple[ClassColumns, list[int], bool]:
    """Return columns of classes or tags that are not named as such, and whether it's a guess.

    Args:
        table: the table.
        used: columns that hold something else.
        photos: the column of photos.
        presence: columns that may say whether photos show their lines' tags.
    """
    numbers = [i for i, name in enumerate(table.header) if _base(name) in _NUMBERS_OF_CLASSES]
    no_classes = presence.columns if numbers else presence.outlines
    classes = find_class_columns(table, {*used, *numbers, *no_classes})
    if classes.indices or numbers:
        return classes, [] if classes.indices else numbers, False
    held = {*used, *presence.outlines}
    other = [index for index in _other_of_two(table, photos) if index not in held]
    return classes, other, bool(other)


def _used(found: dict[str, list[int]]) -> set[int]:
    return {index for columns in found.values() for index in columns}


def _split_columns(table: CellTable, found: dict[str, list[int]]) -> SplitColumns:
    """Return the columns of splits, and add them to those that were found."""
    if len(found["split"]) > 1:
        raise _ambiguous(table, "split", found["split"])
    if found["split"]:
        return SplitColumns(found["split"][0], verbatim=True)
    split = find_split_columns(table, _used(found))
    found["split"] = split.columns
    return split


def _candidates(table: CellTable, role: str) -> list[int]:
    """Return the columns that may have a role: of the documented name, or of other names."""
    exact = [i for i, name in enumerate(table.header) if name.lower() == role]
    if exact:
        return exact
    found = [i for i, name in enumerate(table.header) if _base(name) in _NAMES[role]]
    if role == "tags" and not found:
        found = [
            i
            for i, name in enumerate(table.header)
            if _base(name) in _TOPICS | _TOPICS_OR_COUNTS and _may_be_topic(table, i)
        ]
    if role == "tags" and len(found) > 1 and _are_numbered(table, found):
        flags = all(flag_of(cell) is not None for i in found for cell in table.column(i))
        return [] if flags else found
    if role == "tags" and len(found) > 1:
        # A name next to its number: label,class_name.
        names = [i for i in found if not all(c.isdecimal() for c in table.column(i))]
        return names if len(names) == 1 else found
    return found


def _may_be_topic(table: CellTable, index: int) -> bool:
    """Return whether the cells of a column may be tags by what they are."""
    texts = [text for text in table.column(index) if flag_of(text) is None]
    if _base(table.header[index]) in _TOPICS_OR_COUNTS:
        texts = [text for text in texts if count_of(text) is None]
    return bool(texts)


def _base(name: str) -> str:
    """Return a column's name in lower case without punctuation and, for tags, its number."""
    letters = letters_of(name)
    numbered = _NUMBERED.fullmatch(letters)
    return numbered[1] if numbered and numbered[1] in _NAMES["tags"] else letters


def _are_numbered(table: CellTable, columns: Sequence[int]) -> bool:
    """Return whether columns are ``tag1``, ``tag2``, ...: one more for each tag of a photo."""
    names = [table.header[index].casefold() for index in columns]
    numbers = [name for name in names if name[-1:].isdecimal()]
    one_base = len({_base(name) for name in names}) == 1
    return one_base and len(set(names)) == len(names) and len(numbers) >= len(names) - 1


def _photo_columns(table: CellTable) -> list[int]:
    """Return the columns whose cells all are file names of images."""
    if any(map(has_image_suffix, table.header)):
        return []  # a line of the table: there is not a header
    return [
        index
        for index in range(len(table.header))
        if (cells := table.column(index)) and all(map(has_image_suffix, cells))
    ]


def _other_of_two(table: CellTable, photos: int) -> list[int]:
    """Return the other one of two columns where it may have tags: some of its texts are equal."""
    if len(table.header) != 2:
        return []
    other = 1 - photos
    return [other] if any(count > 1 for count in table.column(other).values()) else []


def _check_required(
    table: CellTable, has_tags: bool, has_photos: bool, presence: PresenceColumns
) -> None:
    """Raise DataError where a table lacks the column of tags or of photos."""
    if has_tags and has_photos:
        return
    if has_photos and presence.outlines:
        raise DataError(
            f"{table.header[presence.outlines[0]]!r} has outlines, but no column names their class",
            where=table.path,
            fix="Add a column `tags` with the name of the class, empty where there is no outline.",
        )
    wanted = "image" if has_tags else "tags"
    lacks = "`image` or `id`" if has_tags else "`tags`"
    close = difflib.get_close_matches(
        wanted, [name.lower() for name in table.header], n=1, cutoff=0.6
    )
    rename = f"; rename the column {close[0]!r} to {wanted!r} if that is meant" if close else ""
    raise DataError(
        f"the first line {', '.join(table.header)[:60]!r} is not a header: "
        f"it lacks {lacks}{rename}",
        where=table.path,
        fix="Begin with a line `image,tags` or `id,tags`.",
    )


def _ambiguous(table: CellTable, role: str, columns: Sequence[int]) -> DataError:
    """Return the error of several columns that may have one role."""
    names = [table.header[index] for index in columns]
    if len({name.lower() for name in names}) < len(names):
        return DataError(
            f"the header has column {names[0].lower()!r} twice",
            where=table.path,
            fix="Remove one of the two.",
        )
    return DataError(
        f"the columns {_quoted(names)} may all be {role!r}",
        where=table.path,
        fix=f"Rename the right one to {role!r}.",
    )


def _misspelled(table: CellTable, used: Collection[int]) -> list[DataProblem]:
    """Return warnings of columns that are not read but may be misspelled."""
    problems = []
    for index, name in enumerate(table.header):
        close = difflib.get_close_matches(name.lower(), ("split", "mask"), n=1, cutoff=0.8)
        if close and index not in used:
            message = f"column {name!r} of {table.name} is not read; did you mean {close[0]!r}?"
            problems.append(DataProblem(message, warning=True))
    return problems


def _remarks(
    table: CellTable,
    found: dict[str, list[int]],
    classes: Collection[int],
    presence: PresenceColumns,
) -> list[str]:
    """Return what other names than the documented ones were read as, and what was not read."""
    names = table.header
    guessed = [
        f"{names[index]!r} as {role}"
        for role, columns in found.items()
        for index in columns
        if names[index].lower() != role
    ]
    remarks = [f"columns read: {', '.join(guessed)}"] if guessed else []
    if classes:
        remarks.append(f"columns of 0 and 1 are classes: {_quoted([names[i] for i in classes])}")
    used = {*_used(found), *classes, *presence.columns}
    remarks += presence_remarks(table, presence)
    other = [name for index, name in enumerate(names) if name and index not in used]
    return remarks + ([f"columns not read: {_quoted(other)}"] if other else [])


def _quoted(names: Sequence[str]) -> str:
    return first_few([repr(name) for name in names])
