"""Tags and masks from an ImageFolder's metadata."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tag2mask.artifacts.items import path_problem
from tag2mask.classes import BACKGROUND, IGNORE, name_kind
from tag2mask.errors import DataError
from tag2mask.formats.annotations import IGNORE_LABEL, AnnotatedPhoto, exported_id, label_text
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import inner_folders
from tag2mask.formats.pixels.gray_masks import value_regions
from tag2mask.formats.tables.cell_table import unquoted
from tag2mask.formats.tables.csv_table import read_csv_table
from tag2mask.formats.text_files.readable import readable
from tag2mask.formats.text_files.text_lines import read_lines
from tag2mask.text.json_text import parse_json

METADATA = ("metadata.jsonl", "metadata.csv")
CLASSES = "classes.txt"
FILE, MASK = "file_name", "mask_file_name"
_TAG_COLUMNS = ("tags", "labels", "label")
_SPLIT = re.compile(r"train(ing)?|val(id(ation)?)?|dev|test(ing)?|eval(uation)?")
"""Names of folders that are splits."""
_MOST_LINE = 1 << 24
"""Bytes of the longest line that is read."""


class _Row(NamedTuple):
    """One photo of a metadata file."""

    file: Path
    folder: str
    """Of the file, relative to the data set's; empty or ending in "/"."""
    number: int
    """Of its line."""
    content: bytes | Mapping[str, Any]
    """JSON, or the cells by column."""


def metadata_files(path: Path) -> list[Path]:
    """Return the metadata of a data set: in its folder, or in those of splits; or the file given.

    Where a folder has both kinds, only ``metadata.jsonl`` counts.
    """
    if path.is_file():
        return [path]
    folders = [path, *(path / name for name in inner_folders(path))]
    found = (
        next((folder / name for name in METADATA if (folder / name).is_file()), None)
        for folder in folders
    )
    return [file for file in found if file is not None]


def has_tags(file: Path) -> bool:
    """Return whether the first line of a metadata file names a photo and has a column of tags."""
    values = _first_values(file)
    return values is not None and FILE in values and _tag_column(values) is not None


def mask_files(path: Path) -> Iterator[Path]:
    """Yield the masks that a data set or a metadata file names; lines that can't be read don't.

    Raises:
        DataError: a metadata file can't be read.
    """
    for file in metadata_files(path):
        for row in _rows(file, ""):
            with suppress(DataError):
                yield file.parent / _path(row, _values(row).get(MASK), MASK)


def has_masks(file: Path) -> bool:
    """Return whether the first line of a metadata file names a photo and its mask."""
    values = _first_values(file)
    return values is not None and FILE in values and MASK in values


def _first_values(file: Path) -> Mapping[str, Any] | None:
    """Return the values of the first line; None: there is none that can be read."""
    try:
        first = next(_rows(file, ""), None)
        return None if first is None else _values(first)
    except DataError:
        return None


def read_huggingface(path: Path, *, with_masks: bool = True) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a data set, file by file.

    Args:
        path: its folder, or one metadata file.
        with_masks: read the masks that ``mask_file_name`` names, whose classes ``classes.txt`` in
            the folder lists.

    Raises:
        DataError: no metadata, or no list of classes.
        ProblemsError: after the other photos, all lines and masks that can't be read.
    """
    files = metadata_files(path)
    root = path if path.is_dir() else path.parent
    if not files:
        raise DataError(
            f"no {METADATA[0]} or {METADATA[1]}", where=path, fix="Give the data set's folder."
        )
    labels = _labels(root) if with_masks else None
    if with_masks and labels is None and any(map(has_masks, files)):
        raise DataError(
            f"no {CLASSES}, without which the numbers in masks mean nothing",
            where=root,
            fix="Write the names of the classes into it, one per line, background first.",
        )
    rows = (
        row
        for file in files
        for row in _rows(file, f"{file.parent.relative_to(root).as_posix()}/".removeprefix("./"))
    )
    return each_photo(rows, partial(_photo, root, labels), root)


def _labels(root: Path) -> dict[int, str | None] | None:
    """Return the label of each value of masks, by the list of classes in or around a folder."""
    path = next((p for p in (root / CLASSES, root.parent / CLASSES) if p.is_file()), None)
    if path is None:
        return None
    names = [line.strip() for line in read_lines(path) if line.strip()]
    if not names or name_kind(names[0]) != "background":
        names = ["background", *names]
    return {**dict(enumerate(names)), BACKGROUND: None, IGNORE: IGNORE_LABEL}


def _rows(file: Path, folder: str) -> Iterator[_Row]:
    """Yield the lines of a metadata file.

    Raises:
        DataError: it can't be read.
    """
    if file.suffix == ".csv":
        table = read_csv_table(file)
        for line in table.lines:
            cells = dict(zip(table.header, map(unquoted, line.cells or ()), strict=False))
            yield _Row(file, folder, line.number, {key: text for key, text in cells.items() if key})
        return
    with readable(file), file.open("rb") as text:
        for number, content in enumerate(iter(partial(text.readline, _MOST_LINE), b""), 1):
            if len(content) == _MOST_LINE:
                raise DataError(
                    f"line {number} has more than {_MOST_LINE >> 20} MiB",
                    where=file,
                    fix="Export it again, with one line per photo.",
                )
            if content.strip():
                yield _Row(file, folder, number, content)


def _values(row: _Row) -> Mapping[str, Any]:
    """Return the values of a line by column.

    Raises:
        DataError: not a JSON object.
    """
    if not isinstance(row.content, bytes):
        return row.content
    try:
        value = parse_json(row.content)
    except ValueError as error:
        raise _damaged(row, f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _damaged(row, "not an object")
    return value


def _damaged(row: _Row, what: str) -> DataError:
    return DataError(
        f"line {row.number}: {what}", where=row.file, fix="Correct or remove the line."
    )


def _photo(root: Path, labels: Mapping[int, str | None] | None, row: _Row) -> AnnotatedPhoto:
    values = _values(row)
    name = row.folder + _path(row, values.get(FILE), FILE)
    split = values.get("split") or _split(name)
    split = split if isinstance(split, str) else None
    tags = _tags(row, values)
    id = exported_id(values)
    if not values.get(MASK) or labels is None:
        return AnnotatedPhoto(name, None, split, tags, (), id)
    mask = root / (row.folder + _path(row, values[MASK], MASK))
    size, regions = value_regions(mask, labels)
    return AnnotatedPhoto(name, size, split, tags, regions, id)


def _path(row: _Row, text: object, key: str) -> str:
    """Return a path that a line has.

    Raises:
        DataError: there is none, or it would lead out of the data set's folder.
    """
    if not isinstance(text, str):
        raise _damaged(row, f"no {key}")
    text = text.strip().replace("\\", "/")
    problem = path_problem(text)
    if problem is not None:
        raise _damaged(row, f"{key} {text!r} {problem}")
    return text


def _split(name: str) -> str | None:
    """Return the first folder of a path whose name is that of a split."""
    folders = PurePosixPath(name).parts[:-1]
    return next((folder for folder in folders if _SPLIT.fullmatch(folder.lower())), None)


def _tags(row: _Row, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags of a line; none where it has no column of tags.

    Raises:
        DataError: the column has something else.
    """
    found = _tag_column(values)
    if found is None:
        return ()
    try:
        return _names(found[0], several=found[1])
    except ValueError as error:
        raise _damaged(row, f"tags: {error}") from None


def _tag_column(values: Mapping[str, Any]) -> tuple[Any, bool] | None:
    """Return what the column of tags has, and whether a text may be several; None: no column."""
    for column in _TAG_COLUMNS:
        if column in values:
            return values[column], column != "label"
    objects = values.get("objects")
    for column in ("categories", "category"):
        if isinstance(objects, dict) and column in objects:
            return objects[column], True
        if isinstance(objects, list) and any(isinstance(o, dict) and column in o for o in objects):
            return [entry.get(column) for entry in objects if isinstance(entry, dict)], True
    return None


def _names(value: Any, *, several: bool) -> tuple[str, ...]:
    """Return the names in a value: a list, or a text, which may be a list or several names.

    Raises:
        ValueError: it has something else.
    """
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            value = value.strip().strip("[]").replace("'", "").split(",")
    elif isinstance(value, str) and several:
        value = re.split(r"[;|]" if re.search(r"[;|]", value) else ",", value)
    names = [] if value is None else value if isinstance(value, list) else [value]
    texts = [label_text(name) for name in names if name is not None]
    return tuple(Counter(text for text in texts if text))
