"""Layout ``csv``: photos with a table of tags (see `tag_table` for the table's format).

Recognized by a file ``tags.csv``, or any other ``.csv``, also one per split::

    DIR/tags.csv                       image,tags / a.jpg,dog / street/b.jpg,cat dog
    DIR/images/a.jpg, street/b.jpg     (or in photos/, JPEGImages/, or next to the table)
    DIR/masks/a.png                    optional
    DIR/classes.txt                    optional: class names and their order
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.addresses import AddressedPhotos, is_address
from tag2mask.data.layouts.class_folders.reader import is_folders
from tag2mask.data.layouts.folder_names import folder_kind
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.listing import (
    CLASS_LIST,
    MASK_FOLDER,
    FoundFile,
    group_by_id,
    inventory_entry,
    list_images,
    read_class_list,
    subfolders,
    unmatched_masks,
)
from tag2mask.data.layouts.photo_lookup import PhotoLookup, ambiguous_photo
from tag2mask.data.layouts.splits import SplitRule, usual_split
from tag2mask.data.layouts.tables.find_tables import TAG_TABLE, find_tables, read_tables
from tag2mask.data.layouts.tables.rows import TagRow
from tag2mask.data.layouts.tables.tag_table import TagTable
from tag2mask.errors import DataError, counted, first_few

_OR_FOLDERS = "If the tags are the names of folders, give --source folders."


def is_csv(folder: Path) -> bool:
    """Return whether a folder has a table of tags."""
    return bool(find_tables(folder))


def read_csv(
    folder: Path, options: SourceOptions, *, not_photos: Collection[str] = ()
) -> Inventory:
    """Read a data folder whose tags are in a table (see the module's docstring).

    The table is ``tags.csv``, or the folder's only ``.csv``, or one per split (see `find_tables`).
    Photos are looked up next to it and in ``images/``, ``photos/`` and ``JPEGImages/``. Masks are
    those of the column ``mask``, else those with the photos' ids below ``masks/``. Images whose
    paths are in ``not_photos`` don't count.

    Raises:
        DataError: no table, several, or a table without its columns.
    """
    root = folder.resolve()
    known = read_class_list(root)
    table = _read_tables(root, known)
    rule = SplitRule(root, options)
    problems = list(table.problems)
    files = _TableFiles(root, table, not_photos)
    table = replace(table, rows=files.without_addresses(table.rows, problems))
    entries: list[InventoryEntry] = []
    used: set[str] = set()
    for row in table.rows:
        split = rule.split_of(row.id, row.split)
        photo = files.photo(row, problems)
        mask = files.mask(row, problems)
        used.update(file.path for file in (photo, mask) if file is not None)
        if split is not None:
            entry = inventory_entry(row.id, split, row.tags, photo, mask, row.where)
            entries.append(entry._replace(group=row.group))
    if not used and entries and _may_be_stray(root):
        raise _no_photo(table, files.lookup)
    problems += rule.problems({row.id for row in table.rows})
    problems += _unused_photos(table, files.photos, used)
    problems += _guessed_tags(root, table)
    problems += unmatched_masks(files.masks, used, (row.id for row in table.rows))
    return Inventory(
        "csv",
        root,
        known or tuple(sorted({tag for row in table.rows for tag in row.tags})),
        tuple(entries),
        tuple(problems),
        tuple(sorted({row.split or "train" for row in table.rows})),
        tag_source=table.name,
        class_list="" if known is None else CLASS_LIST,
        names_from_tags=known is None,
        remarks=table.remarks + files.remarks,
    )


def _no_photo(table: TagTable, lookup: PhotoLookup) -> DataError:
    """Return the error of a table of which no photo exists, with files of similar names."""
    similar = next(filter(None, (lookup.similar(_written(row)) for row in table.rows)), "")
    hint = f"; {similar.partition(':')[0]}" if similar else ""
    names = first_few(repr(row.id) for row in table.rows)
    return DataError(
        f"none of the photos in {table.name} exists: {names}{hint}",
        where=lookup.root,
        fix="Write their paths below the data folder into a column `image`, or move them to "
        f"images/. {_OR_FOLDERS}",
    )


def _written(row: TagRow) -> str:
    """Return how a row names its photo."""
    return row.image or row.id


def _read_tables(root: Path, known: Sequence[str] | None) -> TagTable:
    """Read the tables of a data folder; errors mention class folders next to a table."""
    try:
        return read_tables(root, known)
    except DataError as error:
        if not _may_be_stray(root):
            raise
        raise DataError(error.what, where=error.where, fix=f"{error.fix} {_OR_FOLDERS}") from None


def _may_be_stray(root: Path) -> bool:
    """Return whether the tables may have nothing to do with the photos, which are in folders."""
    return is_folders(root) and not (root / TAG_TABLE).is_file()


def _guessed_tags(root: Path, table: TagTable) -> list[DataProblem]:
    """Return a warning where a column was guessed to have the tags, next to class folders."""
    folders = [
        path
        for name in subfolders(root)
        for path in (
            [f"{name}/{inner}" for inner in subfolders(root / name)]
            if usual_split(name)
            else [name]
        )
        if folder_kind(path.rpartition("/")[2]) == "class"
    ]
    if not table.guessed_tags or not folders:
        return []
    shown = first_few(f"{path}/" for path in folders)
    message = f"tags are read from {table.name}, not from the names of folders ({shown})"
    return [DataProblem(f"{message}; if these are the tags, give --source folders", warning=True)]


def _unused_photos(
    table: TagTable, photos: Sequence[FoundFile], used: Collection[str]
) -> list[DataProblem]:
    """Return a warning where photos are not in the table."""
    if not all(problem.warning for problem in table.problems):
        return []  # a line that could not be read may name them
    unused = [file.path for file in photos if file.path not in used]
    if not unused:
        return []
    count = counted(len(unused), "photo is", "photos are")
    message = f"{count} not in {table.name} and not used: {first_few(unused)}"
    return [DataProblem(message, warning=True)]


class _TableFiles:
    """The photos and masks of a table's rows, looked up in one listing of the folder."""

    def __init__(self, root: Path, table: TagTable, not_photos: Collection[str]) -> None:
        self._root = root
        images = list_images(root, skip=(MASK_FOLDER,))
        self.photos = [image for image in images if image.path not in not_photos]
        self._by_path = {file.path: file for file in self.photos}
        self.lookup = PhotoLookup(root, self.photos)
        self._masks = {file.path: file for file in list_images(root, MASK_FOLDER)}
        self.masks = tuple(self._masks)
        self._masks_by_id = group_by_id(self._masks.values(), f"{MASK_FOLDER}/")
        self._other_folders: tuple[str, ...] = ()
        rows = [row for row in table.rows if not is_address(row.image)]
        if not any(map(self._find, rows)):
            names = [(_written(row), bool(row.image)) for row in rows]
            self._other_folders = self.lookup.folders_of(names)

    def without_addresses(
        self, rows: Sequence[TagRow], problems: list[DataProblem]
    ) -> tuple[TagRow, ...]:
        """Return rows that name local photos; append a problem for each address that means none.

        The id of such a photo is its path below the folder of photos, unless the table names it.
        """
        if not any(is_address(row.image) for row in rows):
            return tuple(rows)
        local = AddressedPhotos(self._by_path)
        found: list[TagRow] = []
        for row in rows:
            if not is_address(row.image):
                found.append(row)
                continue
            paths = local.find(row.image)
            if len(paths) == 1:
                found.append(self._at(row, paths[0]))
                continue
            what = f"may be any of {first_few(paths)}" if paths else "is not in the data folder"
            fix = "correct the path, or remove the line"
            problems.append(DataProblem(f"{row.where}: photo {row.image!r} {what}; {fix}"))
        return tuple(found)

    def _at(self, row: TagRow, path: str) -> TagRow:
        """Return a row of an address with the photo's path, and as its id, unless it has a name."""
        id = without_suffix(path)
        folder = max(filter(id.startswith, self.lookup.usual_folders), key=len)
        is_named = row.id != without_suffix(row.image) and not row.id.isdecimal()
        return row._replace(id=row.id if is_named else id.removeprefix(folder), image=path)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Where photos were found and by which names, if the table doesn't say so."""
        remarks = self.lookup.remarks
        if self._other_folders:
            remarks = (f"photos are looked for in {first_few(self._other_folders)}", *remarks)
        return remarks

    def photo(self, row: TagRow, problems: list[DataProblem]) -> FoundFile | None:
        """Return the photo of a row; append a problem where there is none or more than one."""
        found = self._find(row)
        if not found:
            folders = self._folders(row)
            problems.append(self.lookup.missing(row.id, _written(row), folders, row.where))
            return None
        if len(found) > 1:
            fix = "name the file in a column `image` instead"
            problems.append(ambiguous_photo(row.id, found, row.where, fix))
        return found[0]

    def _find(self, row: TagRow) -> list[FoundFile]:
        return self.lookup.find(_written(row), self._folders(row), is_path=bool(row.image))

    def _folders(self, row: TagRow) -> tuple[str, ...]:
        """Return the folders in which a row's photo may be."""
        folders = self.lookup.usual_folders
        if re.fullmatch(r"[\w-]+", row.split):
            folders += (f"{row.split}/", f"images/{row.split}/")
        if row.split:
            folders += self.lookup.split_folders.get(usual_split(row.split) or row.split, ())
        return folders + self._other_folders

    def mask(self, row: TagRow, problems: list[DataProblem]) -> FoundFile | None:
        """Return the mask of a row, or None; append a problem where the table's doesn't exist."""
        if not row.mask:
            return self._masks_by_id.get(row.id, [None])[0]
        paths = (row.mask, f"{MASK_FOLDER}/{row.mask}")
        for path in paths:
            file = self._masks.get(path) or self._by_path.get(path)
            if file is not None:
                return file
        what = "does not exist; put it there or empty the cell"
        if any(os.path.isfile(self._root / path) for path in paths):  # noqa: PTH113 - any name
            what = "is not an image; save it as a one-channel PNG of class numbers"
        problems.append(DataProblem(f"{row.where}: mask {row.mask!r} of photo {row.id!r} {what}"))
        return None
