"""Tags and masks from LabelMe's JSON."""

from __future__ import annotations

import base64
import io
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tag2mask.errors import DataError
from tag2mask.files.regular_file import open_regular
from tag2mask.formats.annotations import AnnotatedPhoto, Region, score_of
from tag2mask.formats.coco.outlines import draw_outline
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import files_below
from tag2mask.formats.pixels.opening import opened_image
from tag2mask.formats.pixels.run_lengths import MOST_PIXELS
from tag2mask.formats.text_files.readable import KEPT, changed_file, readable
from tag2mask.text.json_text import parse_json

_HEAD = 1 << 16
"""Bytes by which a file is recognized."""
_MOST_BYTES = 1 << 28
"""Of a file; it may contain the photo."""
_MOST_VALUES = 5_000_000
"""The most objects, lists and values of a file, which take much more memory than its bytes."""
_Again = Callable[[Path], list[Any]]
"""Reads the shapes of a file again."""


def read_labelme(root: Path, files: Iterable[str] | None = None) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a folder's files; masks are read again when asked for.

    Shapes without pixels count as boxes.

    Args:
        root: a folder, or one file.
        files: paths of files below the folder; None: all of LabelMe's.

    Raises:
        ProblemsError: after the last photo, with what is wrong with each damaged file.
        DataError: the folder has no such file.
    """
    again = lru_cache(maxsize=KEPT)(_shapes_of)
    if root.is_file():
        yield read_labelme_file(root, again)
        return
    if files is None:
        files = [path for path in files_below(root, {".json"}) if is_labelme(root / path)]
        if not files:
            raise DataError(
                "no file of LabelMe", where=root, fix="Give the folder with its .json files."
            )
    yield from each_photo(files, partial(_photo_of, root, again), root)


def _photo_of(root: Path, again: _Again, file: str) -> AnnotatedPhoto:
    """Return the photo of a file, named relative to the folder where its path is relative."""
    photo = read_labelme_file(root / file, again)
    name = photo.file_name.replace("\\", "/")
    return replace(
        photo, file_name=posixpath.normpath(posixpath.join(posixpath.dirname(file), name))
    )


def is_labelme(path: Path) -> bool:
    """Return whether a JSON file is LabelMe's, by its first bytes."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    keys = set(re.findall(rb'"(shapes|flags|imagePath|version)"\s*:', head))
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" and (
        {b"imagePath", b"shapes"} <= keys
        or {b"imagePath", b"flags"} <= keys
        or {b"version", b"flags", b"shapes"} <= keys
    )


def read_labelme_file(path: Path, again: _Again | None = None) -> AnnotatedPhoto:
    """Return what a file says of its photo, which it names relative to itself.

    Args:
        path: the file.
        again: reads the shapes of a file again; None: each mask reads it on its own.

    Raises:
        DataError: not LabelMe's JSON, damaged, or a shape without a label.
    """
    content = _read(path)
    size = _size(content, path)
    flags = content.get("flags") or {}
    tags = tuple(name for name, value in flags.items() if value is True)
    regions = [
        _region(shape, number, size, path, again or _shapes_of)
        for number, shape in enumerate(content["shapes"], 1)
    ]
    return AnnotatedPhoto(content["imagePath"], size, None, tags, tuple(regions))


def _shapes_of(path: Path) -> list[Any]:
    """Read the shapes of a file again, for their masks.

    Raises:
        DataError: it has changed.
    """
    try:
        shapes: list[Any] = _read(path)["shapes"]
        return shapes
    except DataError:
        raise changed_file(path) from None


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON of a file, whose members have the right types."""
    try:
        with readable(path):
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
            text = path.read_bytes()
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


def _region(
    shape: Any, number: int, size: tuple[int, int] | None, path: Path, again: _Again
) -> Region:
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"shape {number} has no label", where=path, fix="Label it, or remove it.")
    score = score_of(shape.get("score"))
    kind = shape.get("shape_type", "polygon")
    if kind not in ("mask", "polygon"):
        return Region(label.strip(), score, "box", None)
    return Region(label.strip(), score, kind, partial(_draw, again, number, label, size, path))


def _draw(
    again: _Again, number: int, label: str, size: tuple[int, int] | None, path: Path
) -> NDArray[np.bool_]:
    """Draw a mask or polygon in a photo of ``size`` (width, height).

    Args:
        again: reads the shapes of a file.
        number: of the shape, from 1.
        label: of the shape.
        size: of the photo.
        path: the file.

    Raises:
        DataError: it is damaged, the size of the photo is missing, or the file has changed.
    """
    shapes = again(path)
    shape = shapes[number - 1] if number <= len(shapes) else None
    if not isinstance(shape, dict) or shape.get("label") != label:
        raise changed_file(path)
    try:
        if size is None or size[0] * size[1] > MOST_PIXELS:
            raise ValueError("the file has no imageWidth and imageHeight, or too large ones")
        if shape.get("shape_type", "polygon") == "polygon":
            outline = [coordinate for point in _points(shape) for coordinate in point]
            return draw_outline([outline], size[1], size[0])
        return _draw_mask(shape, size)
    except (ValueError, DataError) as error:
        problem = error.what if isinstance(error, DataError) else error
        raise DataError(
            f"damaged shape {number} ({label.strip()}): {problem}",
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
    file = io.BytesIO(base64.b64decode(text))
    with opened_image(file, "mask", ("PNG",)) as image:
        (width, height), mode = image.size, image.mode
    if min(left, top) < 0 or left + width > size[0] or top + height > size[1]:
        raise ValueError(
            f"its {width}x{height} px at {left}, {top} are outside of the photo, "
            f"{size[0]}x{size[1]} px"
        )
    if mode not in ("1", "L", "P"):
        raise ValueError(f"its mask is an image of mode {mode}, not of one channel")
    with opened_image(file, "mask", ("PNG",)) as image:
        pixels = np.asarray(image) != 0
    mask = np.zeros(size[::-1], np.bool_)
    mask[top : top + height, left : left + width] = pixels
    return mask
