"""FiftyOne: masks as an ImageSegmentationDirectory, and tags from its labels of photos.

::

    data/train/a.jpg                                        written
    labels/train/a.png     8 bits of gray: 0 background, 1, 2, ... classes, 255 ignore
    mask_targets.json      {"1": "dog"}
    README.md              the lines that load it

    data/a.jpg                                              read: FiftyOneImageClassificationDataset
    labels.json            {"classes": ["dog"], "labels": {"a": 0}}

Format: https://docs.voxel51.com/user_guide/import_datasets.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tag2mask.artifacts.items import path_problem
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet, name_kind
from tag2mask.errors import DataError
from tag2mask.files.atomic import write_text
from tag2mask.formats.annotations import (
    IGNORE_LABEL,
    AnnotatedPhoto,
    ExportResult,
    MaskedPhoto,
    Region,
    label_text,
    score_of,
)
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import PhotoNames, files_below, stem_path
from tag2mask.formats.pixels.gray_masks import MASK_SUFFIXES, value_regions, write_split_masks
from tag2mask.formats.text_files.json_file import read_json_file

TARGETS = "mask_targets.json"
LABELS = "labels.json"
_DATA, _MASKS = "data", "labels"
_README = """# Masks for FiftyOne

```python
import json
from pathlib import Path

import fiftyone as fo
from fiftyone import ViewField as F

folder = Path({place})
dataset = fo.Dataset.from_dir(
    dataset_dir=str(folder),
    dataset_type=fo.types.ImageSegmentationDirectory,
    label_field="masks",
)
targets = json.loads((folder / "{targets}").read_text(encoding="utf-8"))
dataset.default_mask_targets = {{int(value): name for value, name in targets.items()}}
for split in {splits}:
    dataset.match(F("filepath").contains_str(f"/data/{{split}}/")).tag_samples(split)
dataset.save()
```

255 is not labeled: leave it out of scores.
"""


def write_fiftyone(
    photos: Iterable[MaskedPhoto], classes: ClassSet, out: Path, *, place: Path | None = None
) -> ExportResult:
    """Write ``labels/<split>/<photo>.png``, ``mask_targets.json`` and a README that loads them.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export; photos are in ``data/<split>/``.
        place: where the folder will be once it is complete; None: ``out``.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    splits = write_split_masks(photos, out / _MASKS)
    targets = {str(value): name for value, name in enumerate(classes.mask_names)}
    write_text(out / TARGETS, f"{json.dumps(targets, indent=1, ensure_ascii=False)}\n")
    readme = _README.format(
        place=json.dumps((place or out).resolve().as_posix(), ensure_ascii=False),
        targets=TARGETS,
        splits=sorted(splits),
    )
    write_text(out / "README.md", readme)
    return ExportResult(splits.total())


def read_fiftyone_masks(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of an ImageSegmentationDirectory with ``mask_targets.json``.

    Folders of masks named ``train`` or ``val`` are splits.

    Raises:
        DataError: no ``mask_targets.json``, or a damaged one.
        ProblemsError: after the other photos, all masks that can't be read.
    """
    content = read_json_file(path / TARGETS)
    try:
        names = {int(value): label_text(name) for value, name in content.items()}
    except (AttributeError, ValueError) as error:
        raise DataError(
            f"not an object from values of pixels to names: {error}",
            where=path / TARGETS,
            fix='Write {"1": "name of the class", ...}.',
        ) from None
    labels = {v: None if name_kind(name) == "background" else name for v, name in names.items()}
    labels = {BACKGROUND: None, IGNORE: IGNORE_LABEL} | labels
    photos = PhotoNames()

    def read(relative: str) -> AnnotatedPhoto:
        name = photos.find(path, f"{_DATA}/{stem_path(relative)}")
        size, regions = value_regions(path / _MASKS / relative, labels)
        folder = relative.partition("/")[0]
        split = folder if folder in ("train", "val") and "/" in relative else None
        return AnnotatedPhoto(name, size, split, (), regions)

    return each_photo(files_below(path / _MASKS, MASK_SUFFIXES), read, path)


def read_fiftyone(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of a folder with ``labels.json``: of classification or detection.

    Photos without labels (``null``) are left out: nobody has looked.

    Raises:
        DataError: no ``labels.json``, or a damaged one.
        ProblemsError: after the other photos, all whose labels can't be read.
    """
    file = path / LABELS
    listed, labels = _content(file)
    classes = _class_names(file, listed)
    photos = PhotoNames()

    def read(item: tuple[str, Any]) -> AnnotatedPhoto | None:
        key, value = item
        problem = path_problem(key)
        if problem is not None:
            raise DataError(f"photo {key!r} {problem}", where=file, fix="Correct its name.")
        if value is None:
            return None
        entries = value if isinstance(value, list) else [value]
        name = photos.find(path, f"{_DATA}/{key}")
        regions = [_box(classes, key, e) for e in entries if _is_box(e)]
        tags = [_name(classes, key, e) for e in entries if not _is_box(e)]
        return AnnotatedPhoto(name, None, None, tuple(dict.fromkeys(tags)), tuple(regions))

    return each_photo(labels.items(), read, file)


def fiftyone_classes(path: Path) -> tuple[str, ...] | None:
    """Return the classes that ``labels.json`` lists; None: it lists none.

    Raises:
        DataError: as `read_fiftyone`.
    """
    classes, _ = _content(path / LABELS)
    return _class_names(path / LABELS, classes) or None


def mixes_labels(path: Path) -> bool:
    """Return whether ``labels.json`` has one label of some photos, and lists of labels of others.

    Raises:
        DataError: as `read_fiftyone`.
    """
    _, labels = _content(path / LABELS)
    return len({isinstance(value, list) for value in labels.values() if value is not None}) > 1


def is_fiftyone(path: Path) -> bool:
    """Return whether a folder has ``labels.json`` of FiftyOne next to ``data/``."""
    if not (path / LABELS).is_file() or not (path / _DATA).is_dir():
        return False
    try:
        _content(path / LABELS)
    except DataError:
        return False
    return True


def _content(file: Path) -> tuple[list[Any], dict[str, Any]]:
    """Return the listed classes and the labels by photo.

    Raises:
        DataError: not what FiftyOne writes.
    """
    content = read_json_file(file)
    labels = content.get("labels") if isinstance(content, dict) else None
    classes = (content.get("classes") or []) if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not isinstance(classes, list):
        raise DataError(
            "not FiftyOne's labels of photos (`classes`, `labels`)",
            where=file,
            fix="Export the data set again as FiftyOneImageClassificationDataset.",
        )
    return classes, labels


def _class_names(file: Path, classes: list[Any]) -> tuple[str, ...]:
    """Return the names of the listed classes.

    Raises:
        DataError: one is no name.
    """
    try:
        return tuple(map(label_text, classes))
    except ValueError as error:
        raise DataError(f"`classes`: {error}", where=file, fix="Name every class.") from None


def _is_box(entry: Any) -> bool:
    return isinstance(entry, dict) and "bounding_box" in entry


def _box(classes: tuple[str, ...], key: str, entry: dict[str, Any]) -> Region:
    return Region(_name(classes, key, entry), score_of(entry.get("confidence")), "box", None)


def _name(classes: tuple[str, ...], key: str, entry: Any) -> str:
    """Return the name of a label: a text, the index of a class, or an object with one of both.

    Raises:
        DataError: it is none of these.
    """
    label = entry.get("label") if isinstance(entry, dict) else entry
    if isinstance(label, str):
        return label
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
        return classes[label]
    raise DataError(
        f"label {label!r} of photo {key!r} is neither a name nor the index of a class",
        fix="Correct it.",
    )
