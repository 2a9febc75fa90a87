"""LabelMe's JSON, one file beside each photo.

::

    {"version": "5.5.0", "flags": {"rain": true}, "imagePath": "a.jpg", "imageData": null,
     "imageWidth": 640, "imageHeight": 480,
     "shapes": [{"label": "dog", "shape_type": "polygon", "points": [[1, 2], [30, 2], [30, 40]]},
                {"label": "dog", "shape_type": "mask", "points": [[10, 20], [14, 22]],
                 "mask": "<PNG in base64>"}]}

The points of a mask are its first and last pixel. Flags that are true are image-level labels.
Format: https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import io
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.artifacts.files import write_json
from tag2mask.classes import IGNORE, ClassSet
from tag2mask.errors import DataError
from tag2mask.formats.annotations import (
    AnnotatedPhoto,
    ExportResult,
    MaskedPhoto,
    Region,
    score_of,
)
from tag2mask.formats.coco.outlines import draw_outline
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import files_below
from tag2mask.formats.pixels.run_lengths import MOST_PIXELS
from tag2mask.formats.text_files.readable import readable
from tag2mask.text.json_text import parse_json

_VERSION = "5.5.0"
"""Of LabelMe, whose format is written."""
_HEAD = 1 << 16
"""Bytes by which a file is recognized."""
_MOST_BYTES = 1 << 28
"""Of a file; it may contain the photo."""
_MOST_VALUES = 5_000_000
"""The most objects, lists and values of a file, which take much more memory than its bytes."""


def write_labelme(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, polygons: bool = False
) -> ExportResult:
    """Write ``<photo>.json`` for each photo, with one shape per connected part of a class.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; each file is where its photo is.
        polygons: outlines instead of masks, one per part whose pixels share edges.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    count = left_out = 0
    for photo in photos:
        mask = photo.mask()
        path = PurePosixPath(photo.file_name)
        shapes = list(_shapes(mask, classes, polygons))
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": path.name,
            "imageData": None,
            "imageHeight": photo.size[1],
            "imageWidth": photo.size[0],
        }
        write_json(out / path.with_suffix(".json"), content)
        count += 1
        left_out += int(np.count_nonzero(mask == IGNORE))
    return ExportResult(count, left_out)


def _shapes(mask: NDArray[np.uint8], classes: ClassSet, polygons: bool) -> Iterator[dict[str, Any]]:
    from tag2mask.formats.pixels.parts import mask_parts  # SciPy, which reading doesn't need
    from tag2mask.formats.pixels.polygons import mask_polygons

    for part in mask_parts(mask):
        left, top, width, height = part.box
        shape: dict[str, Any] = {
            "label": classes.mask_names[part.value],
            "group_id": None,
            "description": "",
            "flags": {},
        }
        if polygons:
            for outline in mask_polygons(part.pixels, left, top):
                yield {**shape, "shape_type": "polygon", "points": outline, "mask": None}
        else:
            corners = [[left, top], [left + width - 1, top + height - 1]]
            png = _png(part.pixels)
            yield {**shape, "shape_type": "mask", "points": corners, "mask": png}


def _png(pixels: NDArray[np.bool_]) -> str:
    """Return pixels (h, w) as a PNG of 8 bits of gray, in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def read_labelme(root: Path, files: Iterable[str] | None = None) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a folder's files; masks are decoded when asked for.

    Shapes without pixels count as boxes.

    Args:
        root: a folder, or one file.
        files: paths of files below the folder; None: all of LabelMe's.

    Raises:
        ProblemsError: after the last photo, with what is wrong with each damaged file.
        DataError: the folder has no such file.
    """
    if root.is_file():
        yield read_labelme_file(root)
        return
    if files is None:
        files = [path for path in files_below(root, {".json"}) if is_labelme(root / path)]
        if not files:
            raise DataError(
                "no file of LabelMe", where=root, fix="Give the folder with its .json files."
            )
    yield from each_photo(files, partial(_photo_of, root), root)


def _photo_of(root: Path, file: str) -> AnnotatedPhoto:
    """Return the photo of a file, named relative to the folder where its path is relative."""
    photo = read_labelme_file(root / file)
    name = photo.file_name.replace("\\", "/")
    return replace(
        photo, file_name=posixpath.normpath(posixpath.join(posixpath.dirname(file), name))
    )


def is_labelme(path: Path) -> bool:
    """Return whether a JSON file is LabelMe's, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    keys = set(re.findall(rb'"(shapes|flags|imagePath|version)"\s*:', head))
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" and (
        {b"imagePath", b"shapes"} <= keys
        or {b"imagePath", b"flags"} <= keys
        or {b"version", b"flags", b"shapes"} <= keys
    )


def read_labelme_file(path: Path) -> AnnotatedPhoto:
    """Return what a file says of its photo, which it names relative to itself.

    Raises:
        DataError: not LabelMe's JSON, damaged, or a shape without a label.
    """
    content = _read(path)
    size = _size(content, path)
    flags = content.get("flags") or {}
    tags = tuple(name for name, value in flags.items() if value is True)
    regions = [
        _region(shape, number, size, path) for number, shape in enumerate(content["shapes"], 1)
    ]
    return AnnotatedPhoto(content["imagePath"], size, None, tags, tuple(regions))


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON of a file, whose members have the right types."""
    try:
        with readable(path):
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
            text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        if sum(map(text.count, (b"{", b"[", b","))) > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES} values")
        content = parse_json(text)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            raise ValueError("it has no list `shapes`")
        if not isinstance(content.get("imagePath"), str) or not content["imagePath"]:
            raise ValueError("it has no `imagePath`")
        if not isinstance(content.get("flags") or {}, dict):
            raise ValueError("its `flags` are no object")
    except ValueError as error:
        raise DataError(
            f"not LabelMe's JSON: {error}", where=path, fix="Save it again in LabelMe."
        ) from None
    return content


def _size(content: dict[str, Any], path: Path) -> tuple[int, int] | None:
    """Return the (width, height) of the photo; None: the file doesn't give it."""
    width, height = content.get("imageWidth"), content.get("imageHeight")
    if width is None or height is None:
        return None
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        raise DataError(
            f"its size {width!r} x {height!r} is no number of pixels",
            where=path,
            fix="Save it again in LabelMe.",
        )
    return width, height


def _region(shape: Any, number: int, size: tuple[int, int] | None, path: Path) -> Region:
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"shape {number} has no label", where=path, fix="Label it, or remove it.")
    score = score_of(shape.get("score"))
    kind = shape.get("shape_type", "polygon")
    if kind not in ("mask", "polygon"):
        return Region(label.strip(), score, "box", None)
    return Region(label.strip(), score, kind, partial(_draw, shape, number, size, path))


def _draw(
    shape: dict[str, Any], number: int, size: tuple[int, int] | None, path: Path
) -> NDArray[np.bool_]:
    """Draw a mask or polygon in a photo of ``size`` (width, height).

    Raises:
        DataError: it is damaged, or the size of the photo is missing.
    """
    try:
        if size is None or size[0] * size[1] > MOST_PIXELS:
            raise ValueError("the file has no imageWidth and imageHeight, or too large ones")
        if shape.get("shape_type", "polygon") == "polygon":
            outline = [coordinate for point in _points(shape) for coordinate in point]
            return draw_outline([outline], size[1], size[0])
        return _draw_mask(shape, size)
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"damaged shape {number} ({shape['label']}): {error}",
            where=path,
            fix="Fix or remove it.",
        ) from None


def _points(shape: dict[str, Any]) -> list[list[float]]:
    points = shape.get("points")
    if not isinstance(points, list) or not all(
        isinstance(p, list) and len(p) == 2 and {*map(type, p)} <= {int, float} for p in points
    ):
        raise ValueError("its points are not pairs of numbers")
    return points


def _draw_mask(shape: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    text, points = shape.get("mask"), _points(shape)
    if not isinstance(text, str) or not points:
        raise ValueError("it has no mask or no points")
    left, top = (int(coordinate) for coordinate in points[0])
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",)) as image:
        width, height = image.size
        if min(left, top) < 0 or left + width > size[0] or top + height > size[1]:
            raise ValueError(
                f"its {width}x{height} px at {left}, {top} are outside of the photo, "
                f"{size[0]}x{size[1]} px"
            )
        if image.mode not in ("1", "L", "P"):
            raise ValueError(f"its mask is an image of mode {image.mode}, not of one channel")
        pixels = np.asarray(image) != 0
    mask = np.zeros(size[::-1], np.bool_)
    mask[top : top + height, left : left + width] = pixels
    return mask
