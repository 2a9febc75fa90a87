"""Layout ``cvat``: CVAT for images 1.1; tags are a photo's own, and the labels of its shapes.

::

    DIR/annotations.xml        or other .xml of this form, also in the folders of DIR
    DIR/images/a.jpg           or anywhere else below DIR

Masks and polygons become masks for evaluation.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.listing import first_folders
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.errors import DataError
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.cvat import ROOT, read_cvat, read_cvat_labels
from tag2mask.formats.text_files.xml_stream import root_element

_MOST_FILES = 50
"""XML files of a folder that are looked into; there are more where each is of one photo."""


def is_cvat(folder: Path) -> bool:
    """Return whether a folder has CVAT's XML."""
    return bool(cvat_files(folder))


def cvat_files(folder: Path) -> list[Path]:
    """Return CVAT's XML files of a data folder, sorted."""
    found: list[Path] = []
    for own in first_folders(folder):
        paths = sorted(own.glob("*.xml"))
        if len(paths) <= _MOST_FILES:
            found += [path for path in paths if root_element(path) == ROOT]
    return found


def read_cvat_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with CVAT's XML (see the module's docstring).

    Raises:
        DataError: no such file, or a damaged one.
    """
    root = folder.resolve()
    files = cvat_files(root)
    if not files:
        raise DataError(
            "no XML of CVAT", where=root, fix="Put annotations.xml into it (CVAT for images 1.1)."
        )
    classes = dict.fromkeys(chain.from_iterable(map(read_cvat_labels, files)))
    source = AnnotatedSource(
        "cvat",
        ", ".join(path.relative_to(root).as_posix() for path in files),
        chain.from_iterable(map(read_cvat, files)),
        files_stamp(files),
        tuple(classes) or None,
    )
    return read_annotated(root, source, options)
