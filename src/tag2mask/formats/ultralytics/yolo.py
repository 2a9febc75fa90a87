"""Masks as YOLO's polygons, and tags and masks from its files of labels.

::

    data.yaml                  path, train, val, names (from 0, without background)
    images/train/a.jpg
    labels/train/a.txt         one object per line: class x y x y ..., or class x y width height

Coordinates are shares of the photo's width and height. Polygons have no holes: each hole is joined
to the outline by a cut of no width. YOLO's own tools draw the border of a polygon too, so that
their masks are up to one pixel larger on each side.

Format: https://docs.ultralytics.com/datasets/segment
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import IGNORE, ClassSet, tag_id_of_mask
from tag2mask.errors import DataError
from tag2mask.files.atomic import write_bytes
from tag2mask.formats.annotations import AnnotatedPhoto, ExportResult, MaskedPhoto, Region, SizeOf
from tag2mask.formats.coco.outlines import draw_outline
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import stem_path
from tag2mask.formats.pixels.opening import opened_image
from tag2mask.formats.text_files.readable import KEPT, changed_file
from tag2mask.formats.ultralytics.data_yaml import (
    PhotoFile,
    class_names,
    files_of_photos,
    find_yaml,
    read_data_yaml,
    write_data_yaml,
)

_LABELS = "labels"
_BOX, _TRIANGLE = 4, 6
"""Numbers of a box, and the fewest of a polygon."""
_OUTSIDE = 0.05
"""How far corners may be outside of the photo, as some tools leave them."""
_EXIF_ORIENTATION, _TURNED = 0x0112, range(5, 9)


def write_yolo(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, place: Path | None = None
) -> ExportResult:
    """Write ``labels/<split>/<photo>.txt`` and ``data.yaml`` (see the module's docstring).

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; photos are in ``images/<split>/``.
        place: where the folder will be once it is complete; None: ``out``.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    splits: dict[str, int] = {}
    left_out = 0
    for photo in photos:
        splits[photo.split] = splits.get(photo.split, 0) + 1
        mask = photo.mask()
        left_out += int(np.count_nonzero(mask == IGNORE))
        path = out / _LABELS / photo.split / f"{stem_path(photo.file_name)}.txt"
        write_bytes(path, "".join(_lines(mask)).encode(), durable=False)
    notes = write_data_yaml(out, place or out, splits, dict(enumerate(classes.names)))
    lossy = "YOLO's own tools draw polygons up to one pixel larger than these masks on each side"
    return ExportResult(sum(splits.values()), left_out, (*notes, lossy))


def _lines(mask: NDArray[np.uint8]) -> Iterator[str]:
    """Yield a line for each outline of a mask (h, w)."""
    from tag2mask.formats.pixels.parts import mask_parts  # SciPy, which reading doesn't need
    from tag2mask.formats.pixels.polygons import mask_polygons

    height, width = mask.shape
    for part in mask_parts(mask):
        for corners in mask_polygons(part.pixels, *part.box[:2]):
            shares = " ".join(f"{x / width:.9g} {y / height:.9g}" for x, y in corners)
            yield f"{tag_id_of_mask(part.value)} {shares}\n"


def read_yolo(path: Path, size_of: SizeOf | None = None) -> Iterator[AnnotatedPhoto]:
    """Yield the photos that have a file of labels, split by split.

    Args:
        path: the folder of the data set, or its YAML.
        size_of: returns the size of a photo, which the files don't have; None: it is read from the
            photo, which must then be in the data set's folder.

    Raises:
        DataError: no YAML with ``names``, or a damaged one.
        ProblemsError: after the other photos, all files of labels that can't be read.
    """
    file = find_yaml(path)
    content = read_data_yaml(file)
    names = class_names(content, file)
    has_points = "kpt_shape" in content
    again = lru_cache(maxsize=KEPT)(_lines_of)

    def read(labels: PhotoFile) -> AnnotatedPhoto:
        name = labels.photo
        size = partial(size_of, name) if size_of else partial(_stored_size, file.parent / name)
        draw = partial(_draw, again, labels.path, size)
        regions = _regions(labels.path, names, draw, has_points=has_points)
        return AnnotatedPhoto(name, None, labels.split, (), tuple(regions))

    return each_photo(label_files(file), read, file)


def label_files(file: Path) -> Iterator[PhotoFile]:
    """Return the files of labels of a data set, split by split.

    Args:
        file: its YAML.

    Raises:
        DataError: it can't be read, or names no folder of photos.
    """
    return files_of_photos(read_data_yaml(file), file, _LABELS, (".txt",))


def yolo_classes(path: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of their numbers.

    Raises:
        DataError: as `read_yolo`.
    """
    file = find_yaml(path)
    return tuple(class_names(read_data_yaml(file), file).values())


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a file of labels.

    Raises:
        DataError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"can't be read: {error}", where=path, fix="Export it again.") from None


def _regions(
    path: Path,
    names: Mapping[int, str],
    draw: Callable[[int], NDArray[np.bool_]],
    *,
    has_points: bool,
) -> Iterator[Region]:
    """Yield the objects of a file of labels.

    Args:
        path: the file.
        names: of the classes by number.
        draw: draws the polygon of a line, by its number from 1.
        has_points: objects have key points.
    """
    for number, line in enumerate(_lines_of(path), 1):
        if not line.strip():
            continue
        try:
            yield _region(line.split(), names, partial(draw, number), has_points=has_points)
        except ValueError as error:
            raise DataError(
                f"line {number}: {error}", where=path, fix="Correct or remove the line."
            ) from None


def _region(
    cells: list[str],
    names: Mapping[int, str],
    draw: Callable[[], NDArray[np.bool_]],
    *,
    has_points: bool,
) -> Region:
    """Return the object of a line.

    Raises:
        ValueError: an unknown class, or numbers that are neither a box nor a polygon.
    """
    name = names.get(int(cells[0])) if cells[0].isdecimal() else None
    if name is None:
        raise ValueError(f"{cells[0][:20]!r} is not the number of a class in the YAML")
    numbers, score = _numbers(cells)
    if has_points:
        return Region(name, None, "box", None)
    if len(numbers) == _BOX:
        return Region(name, score, "box", None)
    if len(numbers) < _TRIANGLE:
        raise ValueError(f"{len(numbers)} numbers are neither a box nor a polygon")
    if not all(-_OUTSIDE <= number <= 1 + _OUTSIDE for number in numbers):
        raise ValueError("coordinates that are not shares of the photo's size, 0 to 1")
    return Region(name, score, "polygon", draw)


def _numbers(cells: list[str]) -> tuple[list[float], float | None]:
    """Return the numbers behind the class of a line, and its confidence, if it has one.

    Raises:
        ValueError: something else is there.
    """
    numbers = [float(cell) for cell in cells[1:]]
    # A last number beside pairs is the confidence of a model.
    score = numbers.pop() if len(numbers) % 2 and len(numbers) > _BOX else None
    return numbers, score


def _draw(
    again: Callable[[Path], list[str]], path: Path, size: Callable[[], tuple[int, int]], number: int
) -> NDArray[np.bool_]:
    """Draw the polygon of a line.

    Args:
        again: reads the lines of a file.
        path: the file.
        size: returns the (width, height) of the photo, of which the corners are shares.
        number: of the line, from 1.

    Raises:
        DataError: the file has changed, or the size isn't known.
    """
    try:
        numbers, _ = _numbers(again(path)[number - 1].split())
        corners = np.array(numbers).reshape(-1, 2)
    except (ValueError, IndexError):
        raise changed_file(path) from None
    width, height = size()
    shown = np.clip(corners, 0, 1) * (width, height)
    # Corners at the edges of pixels are whole numbers again.
    near = np.rint(shown)
    shown = np.where(np.abs(shown - near) < 1e-4, near, shown)
    return draw_outline([shown.ravel().tolist()], height, width)


def _stored_size(path: Path) -> tuple[int, int]:
    """Return the upright (width, height) of a photo from its header.

    Raises:
        DataError: missing or no image.
    """
    try:
        with opened_image(path, "photo") as image:
            turned = image.getexif().get(_EXIF_ORIENTATION) in _TURNED
            return (image.height, image.width) if turned else image.size
    except DataError as error:
        raise DataError(
            f"{error.what}; the polygons need its size", where=path, fix=error.fix
        ) from None
