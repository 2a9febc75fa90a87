"""Layout ``roboflow``: masks for semantic segmentation beside their photos.

::

    DIR/train/_classes.csv     Pixel Value, Class
    DIR/train/a.jpg
    DIR/train/a_mask.png
    DIR/tags.csv               tags, since the masks are for evaluation

Tags come from the masks only where they are asked for: ``prepare.tags=masks``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.csv_table import read_csv
from tag2mask.data.layouts.tables.find_tables import TAG_TABLE
from tag2mask.data.layouts.tools.annotated import (
    AnnotatedSource,
    RegionMaskDrawer,
    read_annotated,
)
from tag2mask.errors import DataError
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.roboflow import (
    TABLE,
    mask_files,
    read_roboflow,
    roboflow_classes,
    value_maps,
)


def is_roboflow_folder(folder: Path) -> bool:
    """Return whether a folder has a ``_classes.csv`` with the values of masks."""
    return bool(value_maps(folder))


def read_roboflow_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with Roboflow's masks (see the module's docstring).

    Raises:
        DataError: no such table, no tags, or damaged masks.
    """
    root = folder.resolve()
    masks = {mask.path.relative_to(root).as_posix() for mask in mask_files(root)}
    stamp = files_stamp([*value_maps(root), *(root / mask for mask in masks)])
    if options.tags == "masks":
        return _from_masks(root, masks, stamp, options)
    if not (root / TAG_TABLE).is_file():
        raise DataError(
            f"the masks of {TABLE} are for evaluation, and there are no tags beside them",
            where=root,
            fix=f"Add a {TAG_TABLE} whose first line is `image,tags`, or take the tags from the "
            "masks: --set prepare.tags=masks.",
        )
    found = read_csv(root, options, not_photos=masks)
    drawer = RegionMaskDrawer(TABLE, found.class_names)
    stamps: dict[str, str] = {}
    ids = {entry.image: entry.id for entry in found.entries if entry.mask is None}
    for photo in read_roboflow(root):
        if photo.file_name in ids:
            id = ids[photo.file_name]
            drawer.add(id, photo.size, photo.regions)
            stamps[id] = f"roboflow-{stamp}"
    entries = tuple(
        entry._replace(mask_stamp=stamps.get(entry.id, entry.mask_stamp)) for entry in found.entries
    )
    return replace(found, layout="roboflow", entries=entries, mask_drawer=drawer)


def _from_masks(root: Path, masks: set[str], stamp: str, options: SourceOptions) -> Inventory:
    """Read the classes in each mask as the tags of its photo."""
    source = AnnotatedSource(
        "roboflow",
        f"the masks of {TABLE}",
        read_roboflow(root),
        stamp,
        roboflow_classes(root),
        not_photos=masks,
        photo_folder="",
    )
    return read_annotated(root, source, options)
