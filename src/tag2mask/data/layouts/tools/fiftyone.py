"""Layout ``fiftyone``: labels of photos or boxes.

::

    DIR/labels.json            {"classes": ["dog"], "labels": {"a": 0}}
    DIR/data/a.jpg
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import DataProblem, Inventory, SourceOptions
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.fiftyone import (
    LABELS,
    fiftyone_classes,
    mixes_labels,
    read_fiftyone,
)


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
    found = read_annotated(root, source, options)
    if not mixes_labels(root):
        return found
    message = (
        f"{LABELS} has one label of some photos and lists of labels of others: one label may not "
        "be all that a photo shows; export the list of all its labels"
    )
    return replace(found, problems=(*found.problems, DataProblem(message, warning=True)))
