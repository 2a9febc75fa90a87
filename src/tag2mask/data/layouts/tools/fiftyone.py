"""Layout ``fiftyone``: labels of photos or boxes.

::

    DIR/labels.json            {"classes": ["dog"], "labels": {"a": 0}}
    DIR/data/a.jpg
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.annotated import AnnotatedSource, files_stamp, read_annotated
from tag2mask.formats.fiftyone import LABELS, fiftyone_classes, is_fiftyone, read_fiftyone


def is_fiftyone_folder(folder: Path) -> bool:
    """Return whether a folder has labels of FiftyOne, and no ``tags.csv``, which is newer."""
    return not (folder / "tags.csv").is_file() and is_fiftyone(folder)


def read_fiftyone_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with labels of FiftyOne (see the module's docstring).

    Raises:
        DataError: no ``labels.json``, or a damaged one.
    """
    root = folder.resolve()
    source = AnnotatedSource(
        "fiftyone",
        LABELS,
        read_fiftyone(root),
        files_stamp([root / LABELS]),
        fiftyone_classes(root),
        photo_folder="data/",
    )
    return read_annotated(root, source, options)
