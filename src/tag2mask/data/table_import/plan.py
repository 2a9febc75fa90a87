"""What an import would write, and what was understood, before anything is written."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tag2mask.classes import ClassSet
from tag2mask.data.checks.inventory import similar_names
from tag2mask.data.layouts.listing import FoundFile, list_images
from tag2mask.data.layouts.tables.headers import Columns
from tag2mask.data.layouts.tables.presence import split_pairs
from tag2mask.data.layouts.tables.tags import find_style, tags_of_cell
from tag2mask.data.table_import.columns import import_columns
from tag2mask.data.table_import.existing import (
    PHOTO_FOLDER,
    Changes,
    Imported,
    ImportedPhoto,
    find_changes,
    read_imported,
)
from tag2mask.data.table_import.join import Joined, PhotoNames, outer_folder, same_names
from tag2mask.data.table_import.options import ImportOptions
from tag2mask.data.table_import.parts import Parts, read_parts, unknown_renames
from tag2mask.errors import DataError, ProblemsError, counted, first_few
from tag2mask.formats.tables.cell_table import CellTable
from tag2mask.formats.tables.excel_table import EXCEL_SUFFIXES
from tag2mask.formats.tables.table import read_table
from tag2mask.formats.text_files.text_lines import text_encoding

TAG_MARK = ";"
"""Separates the tags in a written cell."""


@dataclass(frozen=True)
class ImportPlan:
    """What an import would write.

    Attributes:
        table: the table that was read.
        encoding: of a text; None: a workbook.
        columns: what its columns hold.
        parts: its parts.
        joined: the photos of each part.
        source: the folder of the photos.
        out: the data folder.
        class_names: all classes, those of an earlier import first.
        photos: the lines of the written table by path in ``out``, those of an earlier import first.
        files: the photos to link or copy, by path in ``out``.
        changes: what changes in an earlier import.
        existed: whether there was an import in the data folder before this command.
        warnings: what may be meant otherwise.
    """

    table: CellTable
    encoding: str | None
    columns: Columns
    parts: Parts
    joined: Joined
    source: Path
    out: Path
    class_names: tuple[str, ...]
    photos: dict[str, ImportedPhoto]
    files: dict[str, Path]
    changes: Changes
    existed: bool
    warnings: tuple[str, ...]

    @property
    def needs_consent(self) -> bool:
        """Return whether an earlier import becomes something else than a longer list."""
        changes = self.changes
        return bool(changes.tags or changes.other or (self.existed and changes.new_classes))


def plan_imports(
    paths: Sequence[Path], source: Path, out: Path, options: ImportOptions
) -> list[ImportPlan]:
    """Plan the import of several tables, each of which extends those before it; writes nothing.

    The arguments are those of `plan_import`; the last plan has the photos of all tables.

    Raises:
        Tag2MaskError: as `plan_import`, of the first table with a problem.
    """
    plans: list[ImportPlan] = []
    for number, path in enumerate(paths, 1):
        earlier, last = plans[-1] if plans else None, number == len(paths)
        plans.append(plan_import(path, source, out, options, earlier, last=last))
    return plans


def plan_import(
    path: Path,
    source: Path,
    out: Path,
    options: ImportOptions,
    earlier: ImportPlan | None = None,
    *,
    last: bool = True,
) -> ImportPlan:
    """Read a table, find its photos, and compare with what was imported before; writes nothing.

    Args:
        path: the table.
        source: the folder of the photos.
        out: the data folder.
        options: what the user says about the table.
        earlier: the plan of another table, which will be written before.
        last: whether no other table follows, which may have the classes and the tags to rename.

    Raises:
        DataError: the table, the folder or an earlier import can't be read.
        ProblemsError: all that must be given or corrected first.
        PackageError: a package that reads the table isn't installed.
    """
    _check_folders(source, out)
    before = imported = read_imported(out)
    if earlier is not None:
        before = Imported(earlier.class_names, earlier.photos)
    encoding = options.encoding
    if encoding is None and path.is_file() and path.suffix.lower() not in EXCEL_SUFFIXES:
        encoding = text_encoding(path)
    table = split_pairs(read_table(path, options.sheet, encoding))
    listed = list_images(source)
    if not listed:
        raise DataError("no photos in the folder", where=source, fix="Correct --photos.")
    names = PhotoNames(listed)
    obstacles = _option_problems(options)
    columns = import_columns(table, names, options, obstacles)
    if columns is None:
        raise _obstacles(obstacles, path)
    parts = read_parts(table, columns, options, obstacles)
    if earlier is not None:
        parts.seen |= earlier.parts.seen
    if last:
        obstacles += unknown_renames(options, parts.seen)
    joined = names.join([*(part.text for part in parts.parts), *parts.unlabeled])
    joined = joined.without(parts.unlabeled)
    obstacles += joined.conflicts
    if not joined.parts and not joined.conflicts:
        obstacles.append(_nothing_joined(parts, listed))
    photos = _photos_of(parts, joined)
    class_names = _class_names(before, table, columns, options, photos, obstacles)
    if last and photos and not class_names:
        obstacles.append("no row has a tag, so there is no class: are the tags in another column?")
    files = {f"{PHOTO_FOLDER}/{p}": source.resolve() / p for p in _paths(joined)}
    obstacles += _other_photos(files, out)
    if obstacles:
        raise _obstacles(obstacles, path)
    return ImportPlan(
        table,
        encoding,
        columns,
        parts,
        joined,
        source,
        out,
        class_names,
        {**before.photos, **photos},
        files,
        find_changes(before, photos, class_names),
        bool(imported.photos),
        (*parts.warnings, *_warnings(parts, joined), *_unused(class_names, before, photos)),
    )


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise DataError("no such folder of photos", where=source, fix="Correct --photos.")
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise DataError(
            "--photos and --out are in each other",
            where=out,
            fix="Give an --out outside of the photos, which are never changed.",
        )


def _option_problems(options: ImportOptions) -> list[str]:
    if options.separator is None or len(options.separator) == 1:
        return []
    return [f"--separator {options.separator!r} is not one character"]


def _obstacles(obstacles: Sequence[str], path: Path) -> ProblemsError:
    count = counted(len(obstacles), "thing is", "things are")
    return ProblemsError(
        f"nothing was imported: {count} not clear",
        obstacles,
        where=path,
        fix="Give the options, or correct a copy of the table:",
    )


def _nothing_joined(parts: Parts, listed: Sequence[FoundFile]) -> str:
    texts = first_few((repr(part.text) for part in parts.parts), 3) or "no row"
    photos = first_few((repr(file.path) for file in listed), 3)
    return f"no row names a photo: the rows have {texts}, the photos are {photos}"


def _photos_of(parts: Parts, joined: Joined) -> dict[str, ImportedPhoto]:
    """Return the lines of the table to write: each photo has the tags of its part.

    Groups have no outer spaces, which a photo's name may have: a table's reader removes them.
    """
    return {
        f"{PHOTO_FOLDER}/{path}": ImportedPhoto(
            part.tags, (part.group or own.group).strip(), part.split
        )
        for part in parts.parts
        if (own := joined.parts.get(part.text))
        for path in own.photos
    }


def _paths(joined: Joined) -> list[str]:
    return [path for part in joined.parts.values() for path in part.photos]


def _class_names(
    before: Imported,
    table: CellTable,
    columns: Columns,
    options: ImportOptions,
    photos: dict[str, ImportedPhoto],
    obstacles: list[str],
) -> tuple[str, ...]:
    """Return the earlier classes and, behind them, the new ones."""
    found = {tag for photo in photos.values() for tag in photo.tags}
    headers = [table.header[index] for index in columns.classes]
    marked = [name for name in map(options.new_name, headers) if name in found]
    new = [name for name in (*marked, *sorted(found - {*marked})) if name not in before.class_names]
    names = (*before.class_names, *new)
    if names:
        try:
            ClassSet(names)
        except DataError as error:
            obstacles.append(f"{error.what}; {error.fix}")
    obstacles += [
        f"tag {name!r} can't be written in a table; give --rename '{name}=NAME'"
        for name in new
        if not _can_be_read(name)
    ]
    return names


def _can_be_read(name: str) -> bool:
    """Return whether a written tag is read again as itself, alone and next to another."""
    names = (name, "a")
    for tags in ((name,), names):
        cell = TAG_MARK.join(tags)
        style = find_style([cell], one_name=False, quotes_all=False, known=names)
        try:
            if tags_of_cell(cell, style).names != tuple(dict.fromkeys(tags)):
                return False
        except ValueError:
            return False
    return '"' not in name and "\n" not in name


def _other_photos(files: dict[str, Path], out: Path) -> list[str]:
    """Return the obstacle of photos whose names an earlier import has for other photos."""
    other = [
        path
        for path, source in files.items()
        if (out / path).exists() and not same_photo(source, out / path)
    ]
    if not other:
        return []
    return [
        f"other photos of the same names were imported before: {first_few(other)}; rename them, or "
        "give a folder above as --photos"
    ]


def same_photo(source: Path, target: Path) -> bool:
    """Return whether two files are one, or have the same bytes."""
    return target.samefile(source) or filecmp.cmp(source, target, shallow=False)


def _unused(
    class_names: tuple[str, ...], before: Imported, photos: dict[str, ImportedPhoto]
) -> list[str]:
    """Warn about classes of an earlier import that no photo has any more."""
    after = {**before.photos, **photos}.values()
    lost = {tag for photo in before.photos.values() for tag in photo.tags}
    lost -= {tag for photo in after for tag in photo.tags}
    if not lost:
        return []
    names = first_few(repr(name) for name in class_names if name in lost)
    return [
        f"no photo has {names} any more, but the numbers in masks never change, so the class list "
        "keeps them; another --out starts without them"
    ]


def _warnings(parts: Parts, joined: Joined) -> list[str]:
    warnings = []
    several = [p for p in parts.parts if p.tags and len(joined.parts.get(p.text, ("", ()))[1]) > 1]
    if several:
        warnings.append(
            f"{counted(len(several), 'tagged part has', 'tagged parts have')} several photos "
            f"({first_few(repr(p.text) for p in several)}), and all of them get its tags: one side "
            "may not show the defect; where you know, name each photo in a row of its own, and the "
            "part in a column `group`"
        )
    same = {text: found for text, part in joined.parts.items() if (found := same_names(part))}
    if same:
        text, paths = min(same.items())
        named = f"{outer_folder(joined.parts[text], paths[0])}/{text}".lstrip("/")
        number = counted(len(same), "part has", "parts have")
        warnings.append(
            f"{number} photos of the same name in several folders, which count as one part "
            f"({text!r}: {first_few(paths, 3)}); if they are different parts, write the folder "
            f"into the table: {named!r}"
        )
    counts = Counter(tag for part in parts.parts for tag in part.tags)
    warnings += [
        f"tag {rare!r} ({counts[rare]}) looks like {common!r} ({counts[common]}); if it is "
        f"misspelled, give --rename '{rare}={common}'"
        for rare, common in similar_names(dict(counts))
    ]
    return warnings
