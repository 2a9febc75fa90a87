"""The objects of a photo in VOC's XML."""

from __future__ import annotations

from typing import IO, NamedTuple

from tag2mask.formats.text_files.xml_stream import XmlElement, iterate_xml

ROOT = "annotation"


class VocObjects(NamedTuple):
    """What an XML file says of its photo."""

    file_name: str
    """Empty: it doesn't name the photo."""
    size: tuple[int, int] | None
    """(width, height) px; None: not in the file."""
    names: tuple[str, ...]
    """One per object, in their order."""


def read_objects(file: IO[bytes]) -> VocObjects:
    """Read an open XML file. Parts of objects and difficult objects don't matter.

    Raises:
        ValueError: not XML, it declares a document type, or an object has no name.
    """
    file_name, size, objects = "", None, 0
    names: list[str] = []
    for item in iterate_xml(file):
        if item.tag == "filename":
            file_name = item.text.strip()
        elif item.tag == "size":
            size = _size(item)
        elif item.tag == "object":
            objects += 1
            own = [child.text.strip() for child in item.children if child.tag == "name"]
            if not any(own):
                raise ValueError(f"object {objects} has no name")
            names += filter(None, own)
    return VocObjects(file_name, size, tuple(names))


def _size(element: XmlElement) -> tuple[int, int] | None:
    width, height = element.child_text("width"), element.child_text("height")
    if not all(text.isdecimal() and len(text) < 9 for text in (width, height)):
        return None
    size = int(width), int(height)
    return size if min(size) > 0 else None
