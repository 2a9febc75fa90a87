"""Layout ``labelme``: one JSON per photo; tags are its true flags and the labels of its shapes.

::

    DIR/a.jpg
    DIR/a.json         beside its photo, or anywhere else below DIR

Masks and polygons become masks for evaluation. Photos without a file are not used: nobody has
looked at them.
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.listing import first_folders, list_images
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.errors import DataError
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.labelme.reading import is_labelme, read_labelme

_FILES = 3
"""Files of a folder that are looked into to recognize the layout."""


def is_labelme_folder(folder: Path) -> bool:
    """Return whether a folder has LabelMe's JSON."""
    files = (path for own in first_folders(folder) for path in sorted(own.glob("*.json"))[:_FILES])
    return any(map(is_labelme, files))


def read_labelme_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with LabelMe's JSON (see the module's docstring).

    Raises:
        DataError: no such file, or damaged ones.
    """
    root = folder.resolve()
    others: list[str] = []
    list_images(root, other_files=others)
    files = [path for path in others if path.endswith(".json") and is_labelme(root / path)]
    if not files:
        raise DataError(
            "no JSON of LabelMe", where=root, fix="Put each photo's .json beside the photo."
        )
    name = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    photos = read_labelme(root, files)
    stamp = files_stamp(root / path for path in files)
    return read_annotated(root, AnnotatedSource("labelme", name, photos, stamp), options)
