"""CVAT's XML for images, version 1.1.

::

    <annotations>
      <version>1.1</version>
      <meta><task><labels><label><name>dog</name></label></labels></task></meta>
      <image id="0" name="a.jpg" subset="train" width="640" height="480">
        <tag label="dog"/>
        <polygon label="dog" points="1.5,2;30,2;30,40"/>
        <mask label="dog" rle="3, 5, 7" left="10" top="20" width="5" height="3"/>
      </image>
    </annotations>

``rle`` has run lengths along the rows of the box, beginning with background.
Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import IGNORE, ClassSet
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.formats.annotations import (
    AnnotatedPhoto,
    ExportResult,
    MaskedPhoto,
    Region,
    RegionKind,
    score_of,
)
from tag2mask.formats.coco.outlines import draw_outline
from tag2mask.formats.pixels.run_lengths import MOST_PIXELS, pixels_of_runs, run_lengths
from tag2mask.formats.text_files.readable import KEPT, changed_file, readable
from tag2mask.formats.text_files.xml_stream import (
    XmlElement,
    attribute,
    iterate_xml,
    read_item,
    text_content,
)

ROOT = "annotations"
FILE_NAME = "annotations.xml"
_SHAPES: dict[str, RegionKind] = {"mask": "mask", "polygon": "polygon"}
"""Shapes with pixels."""
_OTHER_SHAPES = frozenset(
    {"box", "ellipse", "polyline", "points", "cuboid", "skeleton", "rectangle"}
)
_NO_SPLIT = "default"
"""CVAT's name of the subset of photos that have none."""
_SCORES = ("score", "confidence")
"""Names of attributes with a model's score."""
_Again = Callable[[int], XmlElement]
"""Reads the element of an image again, by the place of its first byte."""


def write_cvat(photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path) -> ExportResult:
    """Write ``annotations.xml`` with one mask per connected part of a class.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export.

    Raises:
        DataError: a name has characters that XML can't hold.
        RunFolderError: the disk is full or the folder may not be written.
    """
    count = left_out = 0
    with atomic_write(out / FILE_NAME) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        file.write("<version>1.1</version>\n")
        _write_labels(file, classes)
        for photo in photos:
            mask = photo.mask()
            _write_image(file, count, photo, mask, classes)
            count += 1
            left_out += int(np.count_nonzero(mask == IGNORE))
        file.write("</annotations>\n")
    return ExportResult(count, left_out)


def read_cvat(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a file, in its order; masks are read again when asked for.

    Boxes, lines, points and other shapes without pixels count as boxes.

    Raises:
        DataError: not CVAT's XML for images, damaged, or a shape without a label.
    """
    again = lru_cache(maxsize=KEPT)(partial(_read_image, path))
    for element in _elements(path):
        if element.tag == "track":
            raise DataError(
                "tracks of a video, which are not read",
                where=path,
                fix="Export them as CVAT for images.",
            )
        if element.tag == "image":
            yield _photo(path, element, again)


def read_cvat_labels(path: Path) -> tuple[str, ...]:
    """Return the labels of the task or project, in their order; empty: the file lists none.

    Raises:
        DataError: as `read_cvat`.
    """
    for element in _elements(path):
        if element.tag == "meta":
            labels = _descendants(element, "label")
            return tuple(dict.fromkeys(filter(None, (la.child_text("name") for la in labels))))
        if element.tag == "image":
            break
    return ()


def _elements(path: Path) -> Iterator[XmlElement]:
    """Yield the elements inside the root.

    Raises:
        DataError: it can't be read.
    """
    try:
        with readable(path), path.open("rb") as file:
            yield from iterate_xml(file, ROOT)
    except ValueError as error:
        raise DataError(
            f"not CVAT's XML for images: {error}", where=path, fix="Export it again."
        ) from None


def _descendants(element: XmlElement, tag: str) -> Iterator[XmlElement]:
    for child in element.children:
        if child.tag == tag:
            yield child
        yield from _descendants(child, tag)


def _read_image(path: Path, start: int) -> XmlElement:
    """Read the element of an image again, for its masks.

    Raises:
        DataError: the file has changed.
    """
    try:
        with path.open("rb") as file:
            return read_item(file, start)
    except (ValueError, OSError):
        raise changed_file(path) from None


def _photo(path: Path, image: XmlElement, again: _Again) -> AnnotatedPhoto:
    name = image.attributes.get("name", "")
    where = f"image {image.attributes.get('id', '?')} ({name})"
    if not name:
        raise DataError(f"{where} has no name", where=path, fix="Export it again.")
    size = None
    if "width" in image.attributes or "height" in image.attributes:
        try:
            size = _whole(image, "width"), _whole(image, "height")
        except ValueError as error:
            raise DataError(f"{where}: {error}", where=path, fix="Export it again.") from None
    split = image.attributes.get("subset")
    tags: list[str] = []
    regions: list[Region] = []
    for place, shape in enumerate(image.children):
        if shape.tag != "tag" and shape.tag not in _SHAPES and shape.tag not in _OTHER_SHAPES:
            continue
        label = shape.attributes.get("label", "").strip()
        if not label:
            raise DataError(
                f"{where}: a {shape.tag} has no label", where=path, fix="Label it, or remove it."
            )
        if shape.tag == "tag":
            tags.append(label)
        else:
            draw = partial(_draw, again, image.start, place, label, size, f"{path}: {where}")
            kind = _SHAPES.get(shape.tag)
            score = _score(shape)
            regions.append(Region(label, score, kind or "box", draw if kind else None))
    split = None if split in ("", _NO_SPLIT) else split
    return AnnotatedPhoto(name, size, split, tuple(tags), tuple(regions))


def _score(shape: XmlElement) -> float | None:
    """Return the last score among the attributes of a shape."""
    score = None
    for own in shape.children:
        if own.tag == "attribute" and own.attributes.get("name", "").lower() in _SCORES:
            score = score_of(own.text)
    return score


def _draw(
    again: _Again, start: int, place: int, label: str, size: tuple[int, int] | None, where: str
) -> NDArray[np.bool_]:
    """Draw a mask or polygon in a photo of ``size`` (width, height).

    Args:
        again: reads the element of an image.
        start: of the image's.
        place: of the shape in it.
        label: of the shape.
        size: of the photo.
        where: the image, for messages.

    Raises:
        DataError: it is damaged, the size of the photo is missing, or the file has changed.
    """
    shapes = again(start).children
    shape = shapes[place] if place < len(shapes) else XmlElement("", {})
    if shape.attributes.get("label", "").strip() != label:
        raise changed_file(where)
    try:
        if size is None or size[0] * size[1] > MOST_PIXELS:
            raise ValueError("the image has no width and height, or too large ones")
        if shape.tag == "polygon":
            return draw_outline([_points(shape)], size[1], size[0])
        return _draw_mask(shape, size)
    except ValueError as error:
        raise DataError(
            f"damaged {shape.tag} ({label}): {error}",
            where=where,
            fix="Fix or remove it, or export it again.",
        ) from None


def _draw_mask(shape: XmlElement, size: tuple[int, int]) -> NDArray[np.bool_]:
    left, top = _whole(shape, "left"), _whole(shape, "top")
    width, height = _whole(shape, "width"), _whole(shape, "height")
    if left + width > size[0] or top + height > size[1]:
        raise ValueError(
            f"its box {width}x{height} at {left}, {top} is outside of the image {size[0]}x{size[1]}"
        )
    text = shape.attributes.get("rle", "")
    if text.count(",") > width * height:
        raise ValueError(f"more run lengths than its {width * height} pixels")
    runs = [int(run) for run in text.split(",")]
    mask = np.zeros(size[::-1], np.bool_)
    mask[top : top + height, left : left + width] = pixels_of_runs(runs, width * height).reshape(
        height, width
    )
    return mask


def _points(shape: XmlElement) -> list[float]:
    corners = [corner.split(",") for corner in shape.attributes.get("points", "").split(";")]
    if any(len(corner) != 2 for corner in corners):
        raise ValueError("its points are not of the form x,y;x,y")
    return [float(number) for corner in corners for number in corner]


def _whole(element: XmlElement, name: str) -> int:
    """Return an attribute that is a whole number of pixels.

    Raises:
        ValueError: it is not.
    """
    text = element.attributes.get(name, "")
    if not re.fullmatch(r"\d{1,9}(\.0*)?", text):
        raise ValueError(f"its {name} {text[:20]!r} is no number of pixels")
    return int(text.partition(".")[0])


def _write_labels(file: IO[str], classes: ClassSet) -> None:
    file.write("<meta><task><labels>\n")
    for name, color in zip(classes.names, classes.colors[1:], strict=True):
        file.write(f"<label><name>{text_content(name)}</name>")
        file.write(f"<color>#{''.join(f'{part:02x}' for part in color)}</color>")
        file.write("<type>any</type><attributes></attributes></label>\n")
    file.write("</labels></task></meta>\n")


def _write_image(
    file: IO[str], number: int, photo: MaskedPhoto, mask: NDArray[np.uint8], classes: ClassSet
) -> None:
    from tag2mask.formats.pixels.parts import mask_parts  # SciPy, which reading doesn't need

    width, height = photo.size
    file.write(f'<image id="{number}"{attribute("name", photo.file_name)}')
    file.write(f'{attribute("subset", photo.split)} width="{width}" height="{height}">\n')
    for part in mask_parts(mask):
        left, top, width, height = part.box
        rle = ", ".join(map(str, run_lengths(part.pixels.ravel())))
        file.write(f'<mask{attribute("label", classes.mask_names[part.value])} source="auto"')
        file.write(f' occluded="0" rle="{rle}" left="{left}" top="{top}"')
        file.write(f' width="{width}" height="{height}" z_order="0"></mask>\n')
    file.write("</image>\n")
