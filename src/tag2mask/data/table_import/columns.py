"""What the columns of an imported table hold: as the options say, else as photos and texts show."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.data.layouts.tables.flags import count_of, flag_of
from tag2mask.data.layouts.tables.headers import Columns, find_columns, holds_several
from tag2mask.data.layouts.tables.one_hot import may_be_names
from tag2mask.data.layouts.tables.presence import PresenceColumns
from tag2mask.data.layouts.tables.split_columns import SplitColumns, find_split_columns
from tag2mask.data.table_import.join import PhotoNames
from tag2mask.data.table_import.options import ImportOptions
from tag2mask.errors import DataError, first_few, nearest_hint
from tag2mask.formats.tables.cell_table import CellTable

_GIVE_TAGS = "give --tags-column, or --tag-columns for a column per class"
_ENOUGH = 0.5
"""A column may name the photos if it names this share of the most that any column names."""


def import_columns(
    table: CellTable, photos: PhotoNames, options: ImportOptions, obstacles: list[str]
) -> Columns | None:
    """Return the columns of a table, or None where an obstacle was added.

    Args:
        table: the table.
        photos: names of the photos.
        options: the columns that were given.
        obstacles: extended by what must be changed or given.
    """
    before = len(obstacles)
    candidates = _photo_columns(table, photos, options, obstacles)
    index = candidates[0] if len(candidates) == 1 else None
    tags = None if options.tags_column is None else _named(table, options.tags_column, obstacles)
    classes = [_named(table, name, obstacles) for name in options.tag_columns]
    if options.tags_column is not None and options.tag_columns:
        obstacles.append("--tags-column and --tag-columns exclude each other; give one of them")
    if len(obstacles) == before:
        for column in classes:
            obstacles += [] if column is None else _other_cells(table, column, options)
    if tags is None and not classes:
        return _guessed(table, candidates, obstacles)
    if index is None or len(obstacles) > before:
        return None
    given = [tags] if tags is not None else classes
    try:
        chosen = [i for i in given if i is not None]
        return _columns_of(table, index, chosen, are_tags=tags is not None)
    except DataError as error:
        obstacles.append(f"{error.what}; {error.fix}")
        return None


def _columns_of(table: CellTable, index: int, given: Sequence[int], are_tags: bool) -> Columns:
    """Return the columns where those of the tags are known; the split is found.

    Raises:
        DataError: a column of splits has other cells, too.
    """
    used = {index, *given}
    named = [i for i, name in enumerate(table.header) if name.casefold() == "split"]
    if len(named) == 1 and named[0] not in used:
        split = SplitColumns(named[0], verbatim=True)
    else:
        split = find_split_columns(table, used)
    groups = [i for i, name in enumerate(table.header) if name.casefold() == "group"]
    group = groups[0] if len(groups) == 1 and groups[0] not in used else None
    used.update([*split.columns, *groups])
    unread = [repr(name) for i, name in enumerate(table.header) if name and i not in used]
    return Columns(
        image=None,
        id=index,
        tags=tuple(given) if are_tags else (),
        one_name=not any(holds_several(table.header[i]) for i in given),
        classes=() if are_tags else tuple(given),
        presence=PresenceColumns(),
        split=split,
        mask=None,
        problems=(),
        remarks=(f"columns not read: {first_few(unread)}",) if unread else (),
        guessed_tags=False,
        group=group,
    )


def _photo_columns(
    table: CellTable, photos: PhotoNames, options: ImportOptions, obstacles: list[str]
) -> list[int]:
    """Return the columns that may name photos: the given one, or those whose texts do.

    Unless there is one, an obstacle is added.
    """
    if options.photo_column is not None:
        given = _named(table, options.photo_column, obstacles)
        return [] if given is None else [given]
    named = {
        index: frozenset(text for text in table.column(index) if photos.names_a_photo(text))
        for index in range(len(table.header))
    }
    most = max(map(len, named.values()), default=0)
    found = [index for index, texts in named.items() if texts and len(texts) >= _ENOUGH * most]
    if len(found) > 1:
        names = first_few(repr(table.header[index]) for index in found)
        obstacles.append(f"the columns {names} all look like photos; give --photo-column")
    if found:
        return found
    shown = first_few(
        f"{name!r} ({next(iter(table.column(i)), 'empty')})" for i, name in enumerate(table.header)
    )
    obstacles.append(
        f"no column names a photo by its file or part: {shown}; the photos are "
        f"{photos.examples()}; correct --photos, or give --photo-column"
    )
    return []


def _named(table: CellTable, name: str, obstacles: list[str]) -> int | None:
    """Return the column of a name; case doesn't matter unless it distinguishes columns."""
    found = [i for i, own in enumerate(table.header) if own == name.strip()]
    found = found or [
        i for i, own in enumerate(table.header) if own.casefold() == name.strip().casefold()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        obstacles.append(f"several columns are called {name!r}; rename one of them")
    else:
        shown = first_few(map(repr, filter(None, table.header)), 8)
        hint = nearest_hint(name, table.header) or f"; there are {shown}"
        obstacles.append(f"no column {name!r}{hint}")
    return None


def _other_cells(table: CellTable, index: int, options: ImportOptions) -> list[str]:
    """Return the obstacle of cells that neither mark a class nor say that it isn't there."""
    no_tag = {text.casefold() for text in options.no_tag}

    def is_other(text: str) -> bool:
        return flag_of(text) is None and count_of(text) is None and text.casefold() not in no_tag

    if not any(map(is_other, table.column(index))):
        return []
    text, where = table.first(index, is_other)
    return [
        f"column {table.header[index]!r} has {text!r} ({where}), which is neither a mark such as x "
        "or 1 nor a count; correct it, or add it to --no-tag if it means no"
    ]


def _guessed(table: CellTable, photos: Sequence[int], obstacles: list[str]) -> Columns | None:
    """Return the columns with those of the tags found; else add an obstacle.

    Where the column of photos isn't known, only an obstacle that each one would have is added.
    """
    messages: list[str] = []
    for index in photos or range(len(table.header)):
        try:
            found = find_columns(table, index)._replace(mask=None)
        except DataError as error:
            texts = _text_columns(table, index)
            if len(texts) == 1:
                found = _columns_of(table, index, texts, are_tags=True)
            else:
                names = [repr(table.header[i]) for i in texts]
                which = f"{first_few(names)} may have the tags" if names else error.what
                messages.append(f"{which}; {_GIVE_TAGS}")
                continue
        return found if len(photos) == 1 else None
    obstacles += messages[:1]
    return None


def _text_columns(table: CellTable, photos: int) -> list[int]:
    """Return the columns that may have tags by their texts; the only other one if it has any."""
    others = [i for i in range(len(table.header)) if i != photos and table.column(i)]
    if len(others) == 1 and any(count_of(text) is None for text in table.column(others[0])):
        return others
    return [i for i in others if may_be_names(table, i)]
