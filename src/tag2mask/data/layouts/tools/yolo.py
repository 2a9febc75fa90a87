"""Layout ``yolo``: tags are the classes of the lines in each photo's file of labels.

::

    DIR/data.yaml
    DIR/labels/train/a.txt     or DIR/train/labels/a.txt, as Roboflow has it
    DIR/images/train/a.jpg     or DIR/train/images/a.jpg

Polygons become masks for evaluation. Photos without a file of labels are not used: nobody may have
looked at them.
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.data.images import image_size
from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.errors import DataError
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.ultralytics.data_yaml import find_yaml
from tag2mask.formats.ultralytics.yolo import label_files, read_yolo, yolo_classes


def is_yolo_folder(folder: Path) -> bool:
    """Return whether a folder has a YAML and files of labels."""
    try:
        return next(label_files(find_yaml(folder)), None) is not None
    except DataError:
        return False


def read_yolo_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with YOLO's labels (see the module's docstring).

    Raises:
        DataError: no YAML, or damaged files.
    """
    root = folder.resolve()
    file = find_yaml(root)

    def size_of(photo: str) -> tuple[int, int]:
        height, width = image_size(root / photo)
        return width, height

    files = [found.path for found in label_files(file)]
    source = AnnotatedSource(
        "yolo",
        f"the labels of {file.name}",
        read_yolo(file, size_of),
        files_stamp([file, *files]),
        yolo_classes(file),
    )
    return read_annotated(root, source, options)
