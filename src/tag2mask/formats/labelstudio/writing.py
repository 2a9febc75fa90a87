"""Masks as predictions that Label Studio imports, to be corrected with its brush.

::

    tasks.json            one task per photo, with one region of the brush per class
    labeling_config.xml   the labeling interface that shows them
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from tag2mask.classes import IGNORE, ClassSet, mask_id
from tag2mask.files.atomic import atomic_write, write_text
from tag2mask.formats.annotations import PHOTO_ID, ExportResult, MaskedPhoto
from tag2mask.formats.labelstudio.brush_rle import encode_brush

TASKS = "tasks.json"
CONFIG = "labeling_config.xml"
LOCAL_FILES = "/data/local-files/?d="
"""Before the paths of photos that Label Studio serves from a folder of its machine."""
_IMAGE, _LABEL = "image", "label"


def write_labelstudio(
    photos: Iterable[MaskedPhoto],
    classes: ClassSet,
    out: Path,
    *,
    photo_prefix: str = LOCAL_FILES,
    model_version: str = "tag2mask",
) -> ExportResult:
    """Write ``tasks.json`` and ``labeling_config.xml``.

    Args:
        photos: photos with their masks; one mask at a time is in memory.
        classes: their classes.
        out: folder of the export.
        photo_prefix: is put before each photo's path (``images/...``), whose special characters
            are escaped as in URLs.
        model_version: name of the predictions in Label Studio.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    count = left_out = 0
    with atomic_write(out / TASKS) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for photo in photos:
            mask = photo.mask()
            left_out += int(np.count_nonzero(mask == IGNORE))
            regions = [
                _region(photo, name, number, mask == number)
                for number, name in ((mask_id(tag), name) for tag, name in enumerate(classes.names))
                if (mask == number).any()
            ]
            task = _task(photo, regions, photo_prefix, model_version)
            file.write(f"{',' if count else ''}\n{json.dumps(task, separators=(',', ':'))}")
            count += 1
        file.write("\n]\n")
    write_text(out / CONFIG, labeling_config(classes))
    return ExportResult(count, left_out)


def _task(
    photo: MaskedPhoto, regions: list[dict[str, Any]], prefix: str, version: str
) -> dict[str, Any]:
    prediction: dict[str, Any] = {"model_version": version, "result": regions}
    if photo.score is not None:
        prediction["score"] = photo.score
    address = prefix + quote(f"images/{photo.file_name}")
    data = {_IMAGE: address, "split": photo.split, PHOTO_ID: photo.id}
    return {"data": data, "predictions": [prediction]}


def _region(
    photo: MaskedPhoto, name: str, number: int, pixels: np.ndarray[Any, np.dtype[np.bool_]]
) -> dict[str, Any]:
    width, height = photo.size
    return {
        "id": f"class-{number}",
        "type": "brushlabels",
        "from_name": _LABEL,
        "to_name": _IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(pixels), "brushlabels": [name]},
    }


def labeling_config(classes: ClassSet) -> str:
    """Return the labeling interface: the photo, and a brush with a label for each class."""
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for name, (red, green, blue) in zip(classes.names, classes.colors[1:], strict=True)
    )
    return (
        "<View>\n"
        f'  <Image name="{_IMAGE}" value="${_IMAGE}" zoom="true"/>\n'
        f'  <BrushLabels name="{_LABEL}" toName="{_IMAGE}">\n{labels}  </BrushLabels>\n'
        "</View>\n"
    )
