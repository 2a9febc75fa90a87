"""Roboflow's masks for semantic segmentation, beside their photos.

::

    train/_classes.csv         Pixel Value, Class / 0, background / 1, dog
    train/a.jpg
    train/a_mask.png           the values of the table

Tables named ``_classes.csv`` with a column of photos are something else: tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tag2mask.classes import name_kind
from tag2mask.errors import DataError
from tag2mask.formats.annotations import AnnotatedPhoto
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import PHOTO_SUFFIXES, inner_folders
from tag2mask.formats.pixels.gray_masks import value_regions
from tag2mask.formats.tables.cell_table import unquoted
from tag2mask.formats.tables.csv_table import read_csv_table

TABLE = "_classes.csv"
_MASK_END = "_mask.png"


def value_maps(path: Path) -> list[Path]:
    """Return the tables of a folder and of its folders that name the values of masks."""
    folders = [path, *(path / name for name in inner_folders(path))]
    files = [folder / TABLE for folder in folders]
    return [file for file in files if file.is_file() and _rows(file)]


def roboflow_classes(path: Path) -> tuple[str, ...]:
    """Return the names in the tables of a folder by value, the background included.

    Raises:
        DataError: a table names one value twice.
    """
    pairs = {pair for file in value_maps(path) for pair in _value_map(file).items()}
    return tuple(dict.fromkeys(name for _, name in sorted(pairs)))


class MaskFile(NamedTuple):
    """A mask and its photo."""

    path: Path
    photo: str
    """Relative to the data set's folder."""
    table: Path


def mask_files(path: Path) -> Iterator[MaskFile]:
    """Yield the masks next to the tables of a folder; those without a photo keep no suffix."""
    for table in value_maps(path):
        names = sorted(p.name for p in table.parent.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
        photos = {name.rpartition(".")[0]: name for name in names if not name.endswith(_MASK_END)}
        folder = table.parent.relative_to(path).as_posix()
        prefix = "" if folder == "." else f"{folder}/"
        for name in names:
            if name.endswith(_MASK_END):
                stem = name.removesuffix(_MASK_END)
                yield MaskFile(table.parent / name, prefix + photos.get(stem, stem), table)


def read_roboflow(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos that have a mask, folder by folder.

    Raises:
        DataError: no table of values, or one that names a value twice.
        ProblemsError: after the other photos, all masks that can't be read.
    """
    if not value_maps(path):
        raise DataError(
            f"no {TABLE} with the values of masks", where=path, fix="Give the data set's folder."
        )
    labels = {
        file: {
            value: None if name_kind(name) == "background" else name
            for value, name in _value_map(file).items()
        }
        for file in value_maps(path)
    }

    def read(mask: MaskFile) -> AnnotatedPhoto:
        size, regions = value_regions(mask.path, labels[mask.table])
        split = mask.photo.rpartition("/")[0].partition("/")[0]
        return AnnotatedPhoto(mask.photo, size, split or None, (), regions)

    return each_photo(mask_files(path), read, path)


def _value_map(file: Path) -> dict[int, str]:
    """Return the names of a table by value of pixels.

    Raises:
        DataError: it names a value twice.
    """
    found: dict[int, str] = {}
    for value, name in _rows(file):
        if value in found:
            raise DataError(
                f"the value {value} of pixels is named twice, {found[value]!r} and {name!r}",
                where=file,
                fix="Keep the line whose class the masks have there.",
            )
        found[value] = name
    return found


def _rows(file: Path) -> list[tuple[int, str]]:
    """Return the values and names in a table's lines; none: it is another table."""
    try:
        table = read_csv_table(file)
    except DataError:
        return []
    rows = [[unquoted(cell) for cell in line.cells or ()] for line in table.lines]
    if len(table.header) != 2 or "value" not in table.header[0].lower():
        return []
    if not all(len(row) == 2 and row[0].isdecimal() and int(row[0]) < 256 for row in rows):
        return []
    return [(int(value), name) for value, name in rows]
