"""Layout ``voc-xml``: VOC's XML without VOC's lists; tags are the names of the objects.

::

    DIR/Annotations/a.xml      or beside the photos, or anywhere else below DIR
    DIR/images/a.jpg           anywhere below DIR
    DIR/labelmap.txt           optional: CVAT's list of classes

XML is of the photo with its own name, else of the one that its ``<filename>`` names: that is an old
name where files were renamed. XML below a folder of a split (``train/a.xml``, ``valid/b.xml``) is
of that split. Photos without XML are not used: nobody has looked at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.addresses import AddressedPhotos
from tag2mask.data.layouts.listing import first_folders, list_images
from tag2mask.data.layouts.splits import usual_split
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.data.layouts.voc.tags import PHOTO_FOLDER
from tag2mask.errors import DataError
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.annotations import AnnotatedPhoto
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.text_files.xml_stream import root_element
from tag2mask.formats.voc.label_map import LABEL_MAP, read_label_map
from tag2mask.formats.voc.objects import ROOT
from tag2mask.formats.voc.reading import read_objects_file, without_ending

_FILES = 3
"""Files of a folder that are looked into to recognize the layout."""
_NOT_PHOTOS = ("SegmentationClass", "SegmentationObject")


def is_voc_xml_folder(folder: Path) -> bool:
    """Return whether a folder has VOC's XML."""
    files = (path for own in first_folders(folder) for path in sorted(own.glob("*.xml"))[:_FILES])
    return any(root_element(path) == ROOT for path in files)


def read_voc_xml_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with VOC's XML (see the module's docstring).

    Raises:
        DataError: no such file, or damaged ones.
    """
    root = folder.resolve()
    others: list[str] = []
    photos = [file.path for file in list_images(root, skip=_NOT_PHOTOS, other_files=others)]
    files = [path for path in others if path.endswith(".xml") and root_element(root / path) == ROOT]
    if not files:
        raise DataError("no XML of VOC", where=root, fix="Put each photo's .xml beside the photo.")
    label_map = root / LABEL_MAP
    source = AnnotatedSource(
        "voc-xml",
        files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more",
        _read_files(root, files, AddressedPhotos(photos)),
        files_stamp(root / path for path in files),
        read_label_map(label_map).classes if label_map.is_file() else None,
        not_photos=_NOT_PHOTOS,
        photo_folder=f"{PHOTO_FOLDER}/" if (root / PHOTO_FOLDER).is_dir() else "images/",
    )
    return read_annotated(root, source, options)


def _read_files(
    root: Path, files: Iterable[str], photos: AddressedPhotos
) -> Iterator[AnnotatedPhoto]:
    """Yield the photo of each XML file, with the split that a folder of the file names, if any.

    Raises:
        ProblemsError: after the last photo, with each damaged file and each second file of a photo.
    """
    taken: dict[str, str] = {}

    def read(file: str) -> AnnotatedPhoto:
        photo = read_objects_file(root, file)
        own = photos.find(without_ending(file))
        name = own[0] if len(own) == 1 else photo.file_name
        found = photos.find(name)
        other = taken.setdefault(found[0] if len(found) == 1 else name, file)
        if other != file:
            raise DataError(
                f"{other} is of the same photo, {name}",
                where=root / file,
                fix="Give it the name of its photo, or correct its <filename>.",
            )
        split = next(filter(usual_split, file.split("/")[:-1]), None)
        return replace(photo, file_name=name, split=split)

    return each_photo(files, read, root)
