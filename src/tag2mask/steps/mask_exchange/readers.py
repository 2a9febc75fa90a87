"""Files with masks of people, models and other tools, recognized by what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tag2mask.artifacts.manifest import read_identity
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet
from tag2mask.data.layouts.tools.cvat import cvat_files
from tag2mask.data.layouts.tools.labelme import is_labelme_folder
from tag2mask.errors import DataError
from tag2mask.files.digests import content_digest
from tag2mask.formats.annotations import IGNORE_LABEL, AnnotatedPhoto, SizeOf
from tag2mask.formats.binary import is_binary, read_binary
from tag2mask.formats.coco.reading import read_coco
from tag2mask.formats.coco.results import is_coco_results, read_coco_results
from tag2mask.formats.cvat import read_cvat
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.fiftyone import TARGETS as FIFTYONE_TARGETS
from tag2mask.formats.fiftyone import read_fiftyone_masks
from tag2mask.formats.huggingface.reading import (
    METADATA,
    has_masks,
    mask_files,
    metadata_files,
    read_huggingface,
)
from tag2mask.formats.labelme.reading import is_labelme, read_labelme
from tag2mask.formats.labelstudio.reading import is_labelstudio, read_labelstudio
from tag2mask.formats.mvtec import TRUTH, is_mvtec, read_mvtec
from tag2mask.formats.pixels.gray_masks import value_regions
from tag2mask.formats.roboflow import read_roboflow, value_maps
from tag2mask.formats.ultralytics.data_yaml import YAML_NAME
from tag2mask.formats.ultralytics.semantic import mask_files as semantic_masks
from tag2mask.formats.ultralytics.semantic import read_ultralytics
from tag2mask.formats.ultralytics.yolo import label_files, read_yolo
from tag2mask.formats.voc.label_map import LABEL_MAP
from tag2mask.formats.voc.reading import read_voc
from tag2mask.formats.voc.writing import MASKS as VOC_MASKS
from tag2mask.steps.mask_exchange.exported_ids import exported_ids
from tag2mask.steps.mask_exchange.sources import SourceMask, open_masks

PNG = "png"
"""Format of masks whose pixels are the numbers of classes."""
_MASKS = "masks"
_HEAD = 1 << 16
"""Bytes by which a JSON file is recognized."""


@dataclass(frozen=True)
class Reader:
    """A format that masks are read from.

    Attributes:
        places: returns what ``read`` takes of a path that was given: files, or the folder itself;
            nothing: it isn't of this format.
        read: yields the photos of one of them.
        content: returns the files and folders that have the masks of one of them; None: itself.
        needs_sizes: ``read`` also takes ``size_of``: the sizes of photos, which the files may lack.
        takes_lists: ``read`` also takes ``lists``: files that list the photos and classes.
        advice: what may help where the files don't fit the data and none of these is given.
    """

    places: Callable[[Path], list[Path]]
    read: Callable[..., Iterator[AnnotatedPhoto]]
    content: Callable[[Path], list[Path]] | None = None
    needs_sizes: bool = False
    takes_lists: bool = False
    advice: str = ""


def _coco_places(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _has_coco_keys(path) else []
    return [file for folder in (path, path / "annotations") for file in _coco_files(folder)]


def _coco_files(folder: Path) -> list[Path]:
    return [
        file for file in sorted(folder.glob("*.json")) if file.is_file() and _has_coco_keys(file)
    ]


def _has_coco_keys(path: Path) -> bool:
    """Return whether a JSON file begins or ends as COCO's do; the order of members is free."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, path.stat().st_size - _HEAD))
        ends = head + file.read(_HEAD)
    keys = set(re.findall(rb'"(images|annotations|categories)"\s*:\s*\[', ends))
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and len(keys) >= 2


def _json_places(path: Path, is_one: Callable[[Path], bool]) -> list[Path]:
    """Return the JSON files of a folder, or the one given, that are of a format."""
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    return [file for file in files if file.suffix.lower() == ".json" and is_one(file)]


def _cvat_places(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".xml" else []
    return cvat_files(path)


def _labelme_places(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and is_labelme(path) else []
    return [path] if is_labelme_folder(path) else []


def _yaml_of(path: Path) -> Path | None:
    """Return the YAML of a data set; None: there is none."""
    file = path if path.is_file() else path / YAML_NAME
    return file if file.suffix.lower() in (".yaml", ".yml") and file.is_file() else None


def _ultralytics_places(path: Path) -> list[Path]:
    return _with_any(_yaml_of(path), semantic_masks)


def _yolo_places(path: Path) -> list[Path]:
    file = _yaml_of(path)
    return [] if _with_any(file, semantic_masks) else _with_any(file, label_files)


def _with_any(file: Path | None, files: Callable[[Path], Iterator[object]]) -> list[Path]:
    """Return a YAML of whose files there are any."""
    try:
        return [file] if file is not None and next(files(file), None) is not None else []
    except DataError:
        return []


def _fiftyone_places(path: Path) -> list[Path]:
    return [path] if (path / FIFTYONE_TARGETS).is_file() else []


def _huggingface_places(path: Path) -> list[Path]:
    if path.is_file() and path.name not in METADATA:
        return []
    return [path] if any(map(has_masks, metadata_files(path))) else []


def _voc_places(path: Path) -> list[Path]:
    return [path] if (path / VOC_MASKS).is_dir() else []


def _binary_places(path: Path) -> list[Path]:
    return [path] if is_binary(path) and read_identity(path) is None else []


def _roboflow_places(path: Path) -> list[Path]:
    return [path] if value_maps(path) else []


def _mvtec_places(path: Path) -> list[Path]:
    return [path] if path.is_dir() and is_mvtec(path) else []


READERS: Mapping[str, Reader] = {
    "coco": Reader(_coco_places, read_coco, needs_sizes=True),
    "coco-results": Reader(
        partial(_json_places, is_one=is_coco_results),
        read_coco_results,
        needs_sizes=True,
        takes_lists=True,
        advice="A list of results has only the numbers of photos and classes: give the JSON that "
        "lists them (`images`, `categories`) as --annotations. ",
    ),
    "cvat": Reader(_cvat_places, read_cvat),
    "labelme": Reader(_labelme_places, read_labelme),
    "labelstudio": Reader(partial(_json_places, is_one=is_labelstudio), read_labelstudio),
    "ultralytics": Reader(
        _ultralytics_places,
        read_ultralytics,
        lambda file: [file, *(found.path for found in semantic_masks(file))],
    ),
    "yolo": Reader(
        _yolo_places,
        read_yolo,
        lambda file: [file, *(found.path for found in label_files(file))],
        needs_sizes=True,
    ),
    "fiftyone": Reader(
        _fiftyone_places,
        read_fiftyone_masks,
        lambda folder: [folder / FIFTYONE_TARGETS, folder / "labels"],
    ),
    "huggingface": Reader(
        _huggingface_places,
        read_huggingface,
        lambda path: [*metadata_files(path), *mask_files(path)],
    ),
    "voc": Reader(
        _voc_places,
        read_voc,
        lambda folder: [p for p in (folder / LABEL_MAP, folder / VOC_MASKS) if p.exists()],
    ),
    "binary": Reader(_binary_places, read_binary, lambda folder: [folder / _MASKS]),
    "roboflow": Reader(_roboflow_places, read_roboflow),
    "mvtec": Reader(_mvtec_places, read_mvtec, lambda folder: [folder / TRUTH]),
}
"""The formats by name."""


@dataclass(frozen=True)
class MaskFiles:
    """Files with masks, to be read as often as needed.

    Attributes:
        name: the format.
        places: the files, or a folder.
        fingerprint: sha256 (hex) of their content.
        photos: returns what they say of each photo; takes a function that returns the sizes of
            photos by their names in the files.
        advice: what may help where they don't fit the data; empty, or ending in a space.
    """

    name: str
    places: tuple[Path, ...]
    fingerprint: str
    photos: Callable[[SizeOf], Iterator[AnnotatedPhoto]]
    advice: str = ""


def find_mask_files(
    path: Path,
    classes: ClassSet,
    *,
    of: str | None = None,
    class_file: Path | None = None,
    lists: Sequence[Path] = (),
) -> MaskFiles:
    """Return the masks of a file or folder, after recognizing its format.

    Args:
        path: a file of another tool, a folder with such files, a folder of masks as `open_masks`
            takes it.
        classes: those of the data, by which PNGs without a class list are numbered.
        of: name of the format; None: it is recognized.
        class_file: class list of PNGs.
        lists: COCO's JSON files that list the photos and classes of results.

    Raises:
        DataError: missing, of no known format, or of several; or ``lists`` for another format.
    """
    if not path.exists():
        raise DataError("no such file or folder of masks", where=path, fix="Correct the path.")
    names = [of] if of is not None else list(READERS)
    found = {name: READERS[name].places(path) for name in names if name in READERS}
    fitting = {name: places for name, places in found.items() if places}
    if len(fitting) > 1:
        raise DataError(
            f"masks in several formats: {', '.join(fitting)}",
            where=path,
            fix="Choose one with --format.",
        )
    if lists and not any(READERS[name].takes_lists for name in fitting):
        raise DataError(
            "--annotations is for COCO's lists of results", where=path, fix="Leave it out."
        )
    for name, places in fitting.items():
        return _of_files(name, places, lists, exported_ids(name, path))
    if path.is_file() or of not in (None, PNG):
        raise DataError(
            f"no masks of the format {of}" if of else "masks of no known format",
            where=path,
            fix=f"Formats are {', '.join((*READERS, PNG))}: see --format.",
        )
    return _of_images(path, classes, class_file)


def _of_files(
    name: str, places: list[Path], lists: Sequence[Path], id_of: Callable[[str], str | None]
) -> MaskFiles:
    """Return the masks of files of a format; ``id_of`` returns ids by the names of photos."""
    reader = READERS[name]
    content = reader.content or (lambda place: [place])

    def photos(size_of: SizeOf) -> Iterator[AnnotatedPhoto]:
        given: dict[str, object] = {"lists": lists} if reader.takes_lists else {}
        if reader.needs_sizes:
            given["size_of"] = lambda photo: size_of(id_of(photo) or photo)
        for place in places:
            for photo in reader.read(place, **given):
                yield replace(photo, id=photo.id or id_of(photo.file_name))

    return MaskFiles(
        name,
        tuple(places),
        content_digest([*lists, *(found for place in places for found in content(place))]),
        photos,
        "" if lists else reader.advice,
    )


def _of_images(path: Path, classes: ClassSet, class_file: Path | None) -> MaskFiles:
    """Return the masks of a run, a step's folder, or a folder of PNGs."""
    source = open_masks(path, classes=class_file, otherwise=classes)
    labels: dict[int, str | None] = dict(enumerate(source.classes.mask_names))
    labels |= {BACKGROUND: None, IGNORE: IGNORE_LABEL}

    def read(mask: SourceMask) -> AnnotatedPhoto:
        size, regions = value_regions(mask.path, labels)
        return AnnotatedPhoto(mask.id, size, mask.split, (), regions)

    return MaskFiles(
        PNG,
        (path,),
        content_digest([mask.path for mask in source.masks]),
        lambda _: each_photo(source.masks, read, path),
    )
