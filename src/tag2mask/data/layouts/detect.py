"""From a folder to an ``Inventory``: which layout it has, and the reader of that layout.

Layouts are tried in the order voc, coco, csv, folders: the one that needs the most particular files
comes first, so that a ``tags.csv`` inside a VOC folder gives tags, not a layout of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.class_folders import is_folders, read_folders
from tag2mask.data.layouts.coco import is_coco, read_coco
from tag2mask.data.layouts.csv_table import is_csv, read_csv
from tag2mask.data.layouts.voc import is_voc, read_voc
from tag2mask.errors import DataError

Layout = Literal["auto", "voc", "coco", "csv", "folders"]
_FIX = (
    "Give a VOC folder, COCO JSON, photos with a tags.csv, or one folder of photos a class "
    "(docs/reference/data.md)."
)


class _Source(NamedTuple):
    fits: Callable[[Path], bool]
    read: Callable[[Path, SourceOptions], Inventory]


_SOURCES = {
    "voc": _Source(is_voc, read_voc),
    "coco": _Source(is_coco, read_coco),
    "csv": _Source(is_csv, read_csv),
    "folders": _Source(is_folders, read_folders),
}


def read_inventory(
    folder: Path, layout: Layout = "auto", options: SourceOptions | None = None
) -> Inventory:
    """Read what a data folder holds: photos, tags, splits, masks, and the problems met.

    No photo is opened.

    Args:
        folder: the data folder.
        layout: how to read it; ``auto`` takes the first that fits.
        options: splits and the source of tags; None: the defaults.

    Raises:
        DataError: no such folder, no layout that fits, or one whose lists or tables can't be read
            at all. Problems of single photos are in the inventory.
    """
    if not folder.exists():
        raise DataError("no such data folder", where=folder, fix="Correct --data.")
    if not folder.is_dir():
        raise DataError(
            "this is a file, not a data folder",
            where=folder,
            fix=f"Give the folder that holds it. {_FIX}",
        )
    options = options or SourceOptions()
    if layout != "auto":
        return _SOURCES[layout].read(folder, options)
    for source in _SOURCES.values():
        if source.fits(folder):
            return source.read(folder, options)
    raise DataError("no tagged photos here: no layout fits", where=folder, fix=_FIX)
