"""A table of tags: one line a photo, cells separated by commas.

::

    image,tags,split,mask                  id,tags
    street/001.jpg,car person,train,       001,"traffic light" car
    street/002.jpg,"traffic light";car,val,m/002.png    002,

The header has ``tags`` and ``id`` or ``image`` (or both), and may have ``split`` and ``mask``.
Several tags are separated by space, ``;`` or ``|``; a name with spaces is quoted. An empty cell of
tags means background only.

``csv.reader`` isn't used: it drops the quotes that tell one name of two words from two names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.listing import (
    FoundFile,
    by_id,
    list_files,
    missing_photo,
    read_class_list,
    read_lines,
    without_suffix,
    written_path,
)
from tag2mask.data.layouts.splits import SplitRule
from tag2mask.errors import DataError, first_few, nearest_hint

_COLUMNS = ("id", "image", "tags", "split", "mask")
_CELL = re.compile(r'((?:"(?:[^"]|"")*"|[^",])*)(,|$)')
_TAG = re.compile(r'"([^"]*)"|[^\s;|"]+')
_ONE_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_MIXED = re.compile(r"[^\s;|,]+ +[^\s;|,]+\s*[;|]|[;|]\s*[^\s;|,]+ +[^\s;|,]")
_PHOTO_FOLDERS = ("", "images/", "photos/", "JPEGImages/")
MASK_FOLDER = "masks"


class TableRow(NamedTuple):
    """One line of a table; paths are plain (see ``written_path``), tags are split."""

    id: str
    image: str
    """As written; empty where the table has ids only."""
    tags: tuple[str, ...]
    split: str
    mask: str
    where: str


@dataclass(frozen=True)
class Table:
    """A tag table, and the problems of its lines."""

    rows: tuple[TableRow, ...]
    problems: tuple[DataProblem, ...]


def is_csv(folder: Path) -> bool:
    """Whether a folder holds a table of tags."""
    return bool(_tables(folder))


def read_csv(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder whose tags are in a table (see the head of the module).

    The table is ``tags.csv``, or the folder's only ``.csv``. Photos are looked for beside it and in
    ``images/``, ``photos/`` and ``JPEGImages/``; masks where the table says, else in a ``masks/``
    tree under the photos' ids. A ``classes.txt`` beside the table names the classes.

    Raises:
        DataError: no table, several, or a table without its columns.
    """
    root = folder.resolve()
    path = _the_table(root)
    class_list = root / "classes.txt"
    known = read_class_list(class_list) if class_list.is_file() else None
    table = read_table(path, known)
    rule = SplitRule(root, options)
    finder = _Finder(root)
    problems = list(table.problems)
    entries: list[InventoryEntry] = []
    used: set[str] = set()
    splits = {row.split or "train" for row in table.rows}
    for row in table.rows:
        split = rule.split_of(row.id, row.split)
        photo = finder.photo(row, problems)
        if photo is not None:
            used.add(photo.path)
        mask = finder.mask(row, problems)
        used.add(mask.path if mask else "")
        if split is None:
            continue
        entries.append(
            InventoryEntry(
                id=row.id,
                split=split,
                tags=row.tags,
                where=row.where,
                image=photo.path if photo else None,
                stamp=photo.stamp if photo else "",
                mask=mask.path if mask else None,
                mask_stamp=mask.stamp if mask else "",
            )
        )
    problems += rule.problems({row.id for row in table.rows})
    if all(problem.warning for problem in table.problems):  # else a broken line may name them
        spare = [file.path for file in finder.photos if file.path not in used]
        if spare:
            problems.append(
                DataProblem(
                    f"{len(spare)} photos are not in {path.name} and take no part: "
                    f"{first_few(spare)}",
                    warning=True,
                )
            )
        problems += spare_masks(finder.masks, used)
    names = known or tuple(sorted({tag for row in table.rows for tag in row.tags}))
    return Inventory(
        "csv",
        root,
        names,
        tuple(entries),
        tuple(problems),
        tuple(sorted(splits)),
        reads=path.name,
        class_list="" if known is None else class_list.name,
        names_from_tags=known is None,
    )


def spare_masks(masks: Iterable[str], fitting: Collection[str]) -> list[DataProblem]:
    """A warning where masks (paths) belong to no photo: somebody meant to be scored on them."""
    spare = [path for path in masks if path not in fitting]
    return (
        [
            DataProblem(
                f"{len(spare)} masks fit no photo: {first_few(spare)}; name each as its photo",
                warning=True,
            )
        ]
        if spare
        else []
    )


def read_table(path: Path, known: Sequence[str] | None = None) -> Table:
    """Read a table of tags.

    Args:
        path: the file.
        known: class names; they settle whether a cell quoted as a whole is one name.

    Raises:
        DataError: unreadable, empty, or a header without the needed columns.
    """
    lines = read_lines(path)
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    header = next(numbered, None)
    if header is None:
        raise DataError("the table is empty", where=path, fix="Its first line is `image,tags`.")
    columns = _columns(header[1], path)
    whole_cells = header[1].lstrip().startswith('"')  # a writer that quotes every cell
    names = frozenset(known or ())
    rows: list[TableRow] = []
    problems: list[DataProblem] = []
    mixed: list[str] = []
    for number, line in numbered:
        where = f"{path.name} line {number}"
        cells = _cells(line)
        if cells is None:
            problems.append(DataProblem(f"{where}: a quote is not closed"))
            continue
        if len(cells) != len(columns):
            mend = (
                "separate several tags by a space, ';' or '|', not by a comma"
                if len(cells) > len(columns)
                else "write a comma before each cell that is left empty, too"
            )
            problems.append(
                DataProblem(
                    f"{where}: {len(cells)} cells where the header has {len(columns)}; {mend}"
                )
            )
            continue
        row = _row(dict(zip(columns, cells, strict=True)), where, whole_cells, names, problems)
        if row is not None:
            rows.append(row)
            if _mixes_separators(line, names, row.tags):
                mixed.append(where)
    if mixed:
        problems.append(
            DataProblem(
                f"{len(mixed)} lines separate tags both by spaces and by ';' or '|' "
                f"({first_few(mixed, 3)}): each word was read as a tag; "
                "quote names that hold spaces",
                warning=True,
            )
        )
    return Table(tuple(rows), tuple(problems))


def parse_tags(
    cell: str, *, whole_cell: bool = False, known: Collection[str] = ()
) -> tuple[str, ...]:
    """Split a cell of tags, as it stands in the file, quotes included.

    Args:
        cell: tags separated by space, ``;`` or ``|``; names with spaces in double quotes.
        whole_cell: the writer of the file quotes every cell, so outer quotes mean nothing.
        known: class names, if any: ``"dog cat"`` is two tags where ``dog`` and ``cat`` are known.

    Returns:
        The tags in their order, each once.
    """
    cell = cell.strip()
    outer = _ONE_QUOTED.fullmatch(cell)
    if outer:
        inner = outer[1].replace('""', '"')
        words = inner.split()
        one_name = not (whole_cell or any(mark in inner for mark in ';|"'))
        if one_name and known and inner not in known and all(word in known for word in words):
            one_name = False
        if one_name:
            return (inner.strip(),) if words else ()
        cell = inner
    tags = (match[1] if match[1] is not None else match[0] for match in _TAG.finditer(cell))
    return tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))


def _row(
    cells: dict[str, str],
    where: str,
    whole_cells: bool,
    known: frozenset[str],
    problems: list[DataProblem],
) -> TableRow | None:
    """One line's cells as a row; None where its id, a path or a tag can't be used."""
    paths: dict[str, str] = {}
    for column in ("id", "image", "mask"):
        text = _unquoted(cells.get(column, ""))
        if text or (column in cells and column != "mask"):
            paths[column], problem = written_path(text)
            if problem:
                problems.append(DataProblem(f"{where}: {column} {text!r} {problem}"))
                return None
    id = without_suffix(paths["id"] if "id" in paths else paths["image"])
    tags = parse_tags(cells["tags"], whole_cell=whole_cells, known=known)
    commas = [tag for tag in tags if "," in tag and tag not in known]
    if commas:
        problems.append(
            DataProblem(
                f"{where}: tag {commas[0]!r} holds a comma; separate tags by a space, ';' or '|'"
            )
        )
        return None
    unprintable = [tag for tag in tags if UNPRINTABLE.search(tag)]
    if unprintable:
        problems.append(
            DataProblem(
                f"{where}: tag {unprintable[0]!r} holds an unprintable character; remove it"
            )
        )
        return None
    return TableRow(
        id,
        paths.get("image", ""),
        tags,
        _unquoted(cells.get("split", "")),
        paths.get("mask", ""),
        where,
    )


def _columns(line: str, path: Path) -> tuple[str, ...]:
    """Check a header; cells of other columns are allowed and not read."""
    cells = _cells(line) or []
    names = tuple(_unquoted(cell).lower() for cell in cells)
    for separator, shown in ((";", "';'"), ("\t", "tabs")):
        if len(names) == 1 and "tags" in names[0].split(separator):
            raise DataError(
                f"the cells are separated by {shown}", where=path, fix="Save the table with commas."
            )
    if "tags" not in names or not {"id", "image"} & set(names):
        wanted = "tags" if "tags" not in names else "image"
        raise DataError(
            f"the first line {line.strip()[:60]!r} is no header: it lacks "
            f"{'`tags`' if wanted == 'tags' else '`image` or `id`'}{nearest_hint(wanted, names)}",
            where=path,
            fix="Begin with a line `image,tags` or `id,tags`.",
        )
    twice = sorted({name for name in names if names.count(name) > 1 and name in _COLUMNS})
    if twice:
        raise DataError(
            f"column {twice[0]!r} stands twice in the header",
            where=path,
            fix="Remove one of the two.",
        )
    for name in names:
        hint = "" if name in _COLUMNS else nearest_hint(name, ("split", "mask"))
        if hint:
            raise DataError(f"unknown column {name!r}{hint}", where=path, fix="Rename it.")
    return names


def _cells(line: str) -> list[str] | None:
    """Raw cells of a line, quotes kept; None where a quote is not closed."""
    if '"' not in line:
        return line.split(",")
    cells: list[str] = []
    position = 0
    while True:
        match = _CELL.match(line, position)
        if match is None:
            return None
        cells.append(match[1])
        if not match[2]:
            return cells
        position = match.end()


def _unquoted(cell: str) -> str:
    cell = cell.strip()
    outer = _ONE_QUOTED.fullmatch(cell)
    return outer[1].replace('""', '"').strip() if outer else cell


def _mixes_separators(line: str, known: Collection[str], tags: tuple[str, ...]) -> bool:
    """Whether a space between two words may have been meant as part of a name."""
    return not known and len(tags) > 2 and '"' not in line and _MIXED.search(line) is not None


def _tables(folder: Path) -> list[Path]:
    if (folder / "tags.csv").is_file():
        return [folder / "tags.csv"]
    return sorted(p for p in folder.glob("*.csv") if p.is_file() and not p.name.startswith("."))


def _the_table(root: Path) -> Path:
    tables = _tables(root)
    if not tables:
        raise DataError(
            "no table of tags",
            where=root,
            fix="Put a tags.csv there whose first line is `image,tags`.",
        )
    if len(tables) > 1:
        raise DataError(
            f"several tables: {', '.join(t.name for t in tables)}",
            where=root,
            fix="Name the one to be read tags.csv.",
        )
    return tables[0]


class _Finder:
    """Looks photos and masks of a table up in one listing of the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.photos = list_files(root, skip=(MASK_FOLDER,))
        self._by_path = {file.path: file for file in self.photos}
        self._by_id = by_id(self.photos)
        self._masks = {file.path: file for file in list_files(root, MASK_FOLDER)}
        self.masks = tuple(self._masks)
        self._masks_by_id = by_id(self._masks.values(), f"{MASK_FOLDER}/")

    def photo(self, row: TableRow, problems: list[DataProblem]) -> FoundFile | None:
        """The photo of a row; a problem is added where there is none, or more than one."""
        for prefix in _PHOTO_FOLDERS:
            if row.image:
                file = self._by_path.get(prefix + row.image)
                if file is not None:
                    return file
                continue
            found = self._by_id.get(prefix + row.id, [])
            if len(found) > 1:
                problems.append(
                    DataProblem(
                        f"{row.where}: id {row.id!r} fits several photos "
                        f"({first_few(f.path for f in found)}); give the column `image` instead"
                    )
                )
            if found:
                return found[0]
        problems.append(missing_photo(row.id, self._root / (row.image or row.id), row.where))
        return None

    def mask(self, row: TableRow, problems: list[DataProblem]) -> FoundFile | None:
        """The mask of a row, or None; a written one that is missing is a problem."""
        if not row.mask:
            return self._masks_by_id.get(row.id, [None])[0]
        for path in (row.mask, f"{MASK_FOLDER}/{row.mask}"):
            file = self._masks.get(path) or self._by_path.get(path)
            if file is not None:
                return file
        problems.append(
            DataProblem(
                f"{row.where}: mask {row.mask!r} of photo {row.id!r} does not "
                "exist; put it there or empty the cell"
            )
        )
        return None
