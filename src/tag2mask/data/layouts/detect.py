"""Detect the layout of a data folder and read it.

Layouts are tried in the order of the list, the most specific first: a ``tags.csv`` inside a VOC
folder is then a source of tags, not a layout of its own. Files of two annotation tools in one
folder are an error. An example of each::

    voc        JPEGImages/a.jpg   ImageSets/Segmentation/train.txt   Annotations/a.xml
    coco       images/a.jpg       annotations/instances_train.json
    cvat       images/a.jpg       annotations.xml
    labelme    a.jpg              a.json
    voc-xml    images/a.jpg       Annotations/a.xml
    labelstudio  images/a.jpg     project-1.json
    fiftyone   data/a.jpg         labels.json
    yolo       images/train/a.jpg   labels/train/a.txt   data.yaml
    huggingface  train/a.jpg      train/metadata.jsonl
    mvtec      train/good/a.jpg   test/crack/b.jpg
    roboflow   train/a.jpg        train/a_mask.png   train/_classes.csv   tags.csv
    csv        images/a.jpg       tags.csv
    folders    dog/a.jpg          cat/b.jpg
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem, Inventory, SourceOptions
from tag2mask.data.layouts.class_folders.reader import is_folders, read_folders
from tag2mask.data.layouts.coco.reader import is_coco, read_coco
from tag2mask.data.layouts.csv_table import is_csv, read_csv
from tag2mask.data.layouts.exports import check_no_defect_data, find_export
from tag2mask.data.layouts.names import leave_out_non_classes
from tag2mask.data.layouts.tables.find_tables import TAG_TABLE
from tag2mask.data.layouts.tools.cvat import is_cvat, read_cvat_folder
from tag2mask.data.layouts.tools.fiftyone import read_fiftyone_folder
from tag2mask.data.layouts.tools.huggingface import is_huggingface_folder, read_huggingface_folder
from tag2mask.data.layouts.tools.labelme import is_labelme_folder, read_labelme_folder
from tag2mask.data.layouts.tools.labelstudio import is_labelstudio_folder, read_labelstudio_folder
from tag2mask.data.layouts.tools.mvtec import read_mvtec_folder
from tag2mask.data.layouts.tools.roboflow import is_roboflow_folder, read_roboflow_folder
from tag2mask.data.layouts.tools.voc_xml import is_voc_xml_folder, read_voc_xml_folder
from tag2mask.data.layouts.tools.yolo import is_yolo_folder, read_yolo_folder
from tag2mask.data.layouts.voc.reader import is_voc, read_voc
from tag2mask.errors import DataError
from tag2mask.formats.fiftyone import is_fiftyone
from tag2mask.formats.mvtec import is_mvtec
from tag2mask.recipe.data_layouts import Layout

_PAGE = "docs/reference/data.md"
_FIX = (
    "Give a VOC folder, COCO JSON, photos with a tags.csv, or one folder of photos per class "
    f"({_PAGE}); `tag2mask data import` makes a data folder of a table and photos."
)


class _LayoutReader(NamedTuple):
    matches: Callable[[Path], bool]
    read: Callable[[Path, SourceOptions], Inventory]


_READERS: dict[Layout, _LayoutReader] = {
    "voc": _LayoutReader(is_voc, read_voc),
    "coco": _LayoutReader(is_coco, read_coco),
    "cvat": _LayoutReader(is_cvat, read_cvat_folder),
    "labelme": _LayoutReader(is_labelme_folder, read_labelme_folder),
    "voc-xml": _LayoutReader(is_voc_xml_folder, read_voc_xml_folder),
    "labelstudio": _LayoutReader(is_labelstudio_folder, read_labelstudio_folder),
    "fiftyone": _LayoutReader(is_fiftyone, read_fiftyone_folder),
    "yolo": _LayoutReader(is_yolo_folder, read_yolo_folder),
    "huggingface": _LayoutReader(is_huggingface_folder, read_huggingface_folder),
    "mvtec": _LayoutReader(is_mvtec, read_mvtec_folder),
    "roboflow": _LayoutReader(is_roboflow_folder, read_roboflow_folder),
    "csv": _LayoutReader(is_csv, read_csv),
    "folders": _LayoutReader(is_folders, read_folders),
}
_TOOLS = tuple(name for name in _READERS if name not in ("voc", "csv", "folders"))
"""Layouts of annotation tools, of which a folder must have only one."""
_OLDER_THAN_TABLE = tuple(name for name in _TOOLS if name not in ("coco", "roboflow"))
"""Tools whose files aren't read next to a ``tags.csv``, which is newer."""


def read_inventory(
    folder: Path, layout: Layout = "auto", options: SourceOptions | None = None
) -> Inventory:
    """Read what a data folder contains: photos, tags, splits, masks, and the problems found.

    No photo is opened, but a few images of class folders whose names are like those of masks.

    Args:
        folder: the data folder.
        layout: how to read it; ``auto`` takes the first that matches.
        options: splits and the source of tags; None: the defaults.

    Raises:
        DataError: no such folder, no layout that matches, or lists or tables that can't be read.
            Problems of single photos are in the inventory.
    """
    if not folder.exists():
        raise DataError("no such data folder", where=folder, fix="Correct --data.")
    if not folder.is_dir():
        raise DataError(
            "this is a file, not a data folder",
            where=folder,
            fix=f"Give the folder that contains it. {_FIX}",
        )
    options = options or SourceOptions()
    if layout != "auto":
        return leave_out_non_classes(_READERS[layout].read(folder, options))
    found = _detected(folder)
    if found is not None:
        return leave_out_non_classes(_READERS[found].read(folder, options))
    return leave_out_non_classes(_read_without_tag_files(folder, options))


def _detected(folder: Path) -> Layout | None:
    """Return the first layout that matches; None: only class folders may.

    Raises:
        DataError: two annotation tools have files in the folder.
    """
    for name in _READERS:
        if name == "folders" or not _matches(name, folder):
            continue
        tools = [tool for tool in _TOOLS if name in _TOOLS and _matches(tool, folder)]
        if len(tools) > 1:
            raise DataError(
                f"the folder has files of {len(tools)} annotation tools: {', '.join(tools)}",
                where=folder,
                fix=f"Choose the one to read, as in --source {tools[0]}.",
            )
        return name
    return None


def _matches(name: Layout, folder: Path) -> bool:
    """Return whether a folder has the files of a layout, and no table of tags that is newer."""
    has_table = name in _OLDER_THAN_TABLE and (folder / TAG_TABLE).is_file()
    return not has_table and _READERS[name].matches(folder)


def _read_without_tag_files(folder: Path, options: SourceOptions) -> Inventory:
    """Read a folder that has no file of tags, or one that isn't read.

    Raises:
        DataError: no class folders; the error names the file.
    """
    export = find_export(folder)
    check_no_defect_data(folder, options.train_split)
    try:
        if not is_folders(folder):
            raise DataError(
                "no tagged photos found: the folder has none of the known layouts",
                where=folder,
                fix=_FIX,
            )
        found = read_folders(folder, options)
    except DataError as error:
        if export is None:
            raise
        what = f"{error.what}; {export.what}"
        raise DataError(what, where=folder, fix=f"{export.fix} See {_PAGE}.") from None
    if export is None:
        return found
    warning = f"{export.what}; the folders count as classes: remove it, or put it elsewhere"
    return replace(found, problems=(*found.problems, DataProblem(warning, warning=True)))
