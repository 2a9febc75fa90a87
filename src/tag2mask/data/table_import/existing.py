"""The data folder that an earlier import wrote, and what another import changes in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.layouts.listing import CLASS_LIST, read_class_list
from tag2mask.data.layouts.tables.find_tables import TAG_TABLE
from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.errors import DataError, first_few
from tag2mask.formats.tables.csv_table import read_csv_table

PHOTO_FOLDER = "images"
HEADER = ("image", "tags", "group", "split")
_OWN = frozenset({PHOTO_FOLDER, CLASS_LIST, TAG_TABLE})
"""What an import writes; an interrupted one may have written a part of it."""


class ImportedPhoto(NamedTuple):
    """A line of an imported table."""

    tags: tuple[str, ...]
    group: str
    split: str


@dataclass(frozen=True)
class Imported:
    """A data folder that was imported.

    Attributes:
        class_names: its classes, in their order.
        photos: by path in the folder.
    """

    class_names: tuple[str, ...] = ()
    photos: Mapping[str, ImportedPhoto] = field(default_factory=dict)


def read_imported(out: Path) -> Imported:
    """Read the data folder of an earlier import; empty where there is none.

    Raises:
        DataError: something else is there, or it can't be read.
    """
    if not out.exists():
        return Imported()
    fix = "Give another --out."
    if not out.is_dir():
        raise DataError("a file is in the place of the folder", where=out, fix=fix)
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    if TAG_TABLE not in names:
        if other := sorted(names - _OWN):
            raise DataError(
                f"the folder has files of its own ({first_few(other)})", where=out, fix=fix
            )
        return Imported()
    header = read_csv_table(out / TAG_TABLE).header
    if tuple(header) not in (HEADER, HEADER[:-1]):
        raise DataError(f"{TAG_TABLE} was not written by an import", where=out, fix=fix)
    class_names = read_class_list(out) or ()
    table = read_tag_table(out / TAG_TABLE, class_names)
    if errors := [problem.message for problem in table.problems if not problem.warning]:
        raise DataError(
            errors[0], where=out, fix=f"Correct {TAG_TABLE}, or import again elsewhere."
        )
    return Imported(
        class_names,
        {row.image: ImportedPhoto(row.tags, row.group, row.split) for row in table.rows},
    )


@dataclass(frozen=True)
class Changes:
    """What an import changes in an imported data folder."""

    tags: tuple[str, ...]
    """Photos with other tags, each as ``photo: before -> now``."""
    other: tuple[str, ...]
    """Photos of another group or split."""
    new_photos: int
    new_classes: tuple[str, ...]


def find_changes(
    before: Imported, photos: Mapping[str, ImportedPhoto], class_names: Sequence[str]
) -> Changes:
    """Compare an earlier import with what it becomes."""
    both = [
        (path, before.photos[path], now) for path, now in photos.items() if path in before.photos
    ]
    return Changes(
        tuple(
            f"{path}: {_text(old.tags)} -> {_text(now.tags)}"
            for path, old, now in both
            if {*old.tags} != {*now.tags}
        ),
        tuple(path for path, old, now in both if old[1:] != now[1:]),
        len(photos) - len(both),
        tuple(name for name in class_names if name not in before.class_names),
    )


def _text(tags: Sequence[str]) -> str:
    return "; ".join(tags) or "no tag"
