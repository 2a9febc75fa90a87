"""Layout ``voc-xml``: VOC's XML without VOC's lists; tags are the names of the objects.

::

    DIR/Annotations/a.xml      or beside the photos, or anywhere else below DIR
    DIR/images/a.jpg           anywhere below DIR
    DIR/labelmap.txt           optional: CVAT's list of classes

XML below a folder of a split (``train/a.xml``, ``valid/b.xml``) is of that split. Photos without
XML are not used: nobody has looked at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.listing import list_images, subfolders
from tag2mask.data.layouts.splits import usual_split
from tag2mask.data.layouts.stamps import files_stamp
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.data.layouts.voc.tags import PHOTO_FOLDER
from tag2mask.errors import DataError
from tag2mask.formats.annotations import AnnotatedPhoto
from tag2mask.formats.text_files.xml_stream import root_element
from tag2mask.formats.voc.label_map import LABEL_MAP, read_label_map
from tag2mask.formats.voc.objects import ROOT
from tag2mask.formats.voc.reading import read_voc_objects

_FILES = 3
"""Files of a folder that are looked into to recognize the layout."""
_FOLDERS = 20
_NOT_PHOTOS = ("SegmentationClass", "SegmentationObject")


def is_voc_xml_folder(folder: Path) -> bool:
    """Return whether a folder has VOC's XML, and no ``tags.csv``, which would be newer."""
    if (folder / "tags.csv").is_file():
        return False
    folders = (folder, *(folder / name for name in subfolders(folder)[:_FOLDERS]))
    files = (path for own in folders for path in sorted(own.glob("*.xml"))[:_FILES])
    return any(root_element(path) == ROOT for path in files)


def read_voc_xml_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with VOC's XML (see the module's docstring).

    Raises:
        DataError: no such file, or damaged ones.
    """
    root = folder.resolve()
    others: list[str] = []
    list_images(root, other_files=others)
    files = [path for path in others if path.endswith(".xml") and root_element(root / path) == ROOT]
    if not files:
        raise DataError("no XML of VOC", where=root, fix="Put each photo's .xml beside the photo.")
    label_map = root / LABEL_MAP
    source = AnnotatedSource(
        "voc-xml",
        files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more",
        _with_splits(read_voc_objects(root, files)),
        files_stamp(root / path for path in files),
        read_label_map(label_map).classes if label_map.is_file() else None,
        not_photos=_NOT_PHOTOS,
        photo_folder=f"{PHOTO_FOLDER}/" if (root / PHOTO_FOLDER).is_dir() else "images/",
    )
    return read_annotated(root, source, options)


def _with_splits(photos: Iterable[AnnotatedPhoto]) -> Iterator[AnnotatedPhoto]:
    """Yield photos with the split that a folder of their XML names, if any does."""
    for photo in photos:
        folders = photo.file_name.split("/")[:-1]
        yield replace(photo, split=next(filter(usual_split, folders), None))
