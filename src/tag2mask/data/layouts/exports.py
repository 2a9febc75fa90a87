"""Exports of annotation tools that are not read: which tool wrote a file, and what to do instead.

Photos next to such a file would otherwise be "without tags", or the folder around them a class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.layouts.listing import first_folders, subfolders
from tag2mask.errors import DataError

_HEAD = 1 << 16
"""Bytes of a file that are looked at."""
_FILES = 3
"""Files of a folder and kind that are looked at."""
_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
_AS_COCO = "export the annotations as COCO JSON"


class Export(NamedTuple):
    """A file that another tool wrote."""

    name: str
    """Relative to the data folder."""
    tool: str
    advice: str

    @property
    def what(self) -> str:
        """What was found, for messages."""
        return f"{self.name} is of {self.tool}, which is not read"

    @property
    def fix(self) -> str:
        """What to do about it."""
        advice = self.advice[:1].upper() + self.advice[1:]
        return f"{advice}, or write a tags.csv whose first line is `image,tags`."


def find_export(root: Path) -> Export | None:
    """Return the first file of a data folder that an annotation tool wrote in another format."""
    if not root.is_dir():
        return None
    for folder in first_folders(root):
        for path in _files(folder):
            found = _tool_of(path)
            if found is not None:
                return Export(path.relative_to(root).as_posix(), *found)
    return None


def check_no_defect_data(root: Path, train_split: str) -> None:
    """Check that a folder is not laid out like MVTec AD, whose training photos show no defect.

    Args:
        root: the data folder.
        train_split: its folder of training photos.

    Raises:
        DataError: it is; ``good`` would be the only class.
    """
    if train_split != "train" or subfolders(root / "train") != ["good"]:
        return
    raise DataError(
        "the only folder in train/ is good/, as in MVTec AD: no training photo shows a defect",
        where=root,
        fix="Put photos of the defects (in test/) into train/, one folder per kind of defect, and "
        "rename good/ to background/.",
    )


def _files(folder: Path) -> Iterator[Path]:
    """Yield files that may be exports: the known names, then a few of each kind."""
    for names in ("*.json", "*.jsonl", "*.csv", "*.y*ml", "*.names", "*.data", "*.txt"):
        paths = sorted(path for path in folder.glob(names) if not path.name.startswith("."))
        yield from (path for path in paths[:_FILES] if path.is_file())
    for suffix in _SPREADSHEETS:
        yield from sorted(folder.glob(f"[!~.]*{suffix}"))[:1]
    yield from sorted(folder.glob("*.parquet"))[:1]
    yield from sorted(folder.glob("*.tfrecord*"))[:1]


def _tool_of(path: Path) -> tuple[str, str] | None:
    """Return the tool that wrote a file and what to do; None: no known tool."""
    known = _KNOWN_NAMES.get(path.name)
    if known is not None:
        return known
    suffix = path.suffix.lower()
    if suffix in _SPREADSHEETS:
        return "a spreadsheet program", "make a data folder of it with `tag2mask data import`"
    if suffix in (".parquet", ".tfrecord"):
        return "a data set in records", "write its photos into a folder"
    if suffix not in (".json", ".yaml", ".yml", ".txt"):
        return None
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if suffix == ".json":
        return _tool_of_json(head)
    yolo = _YOLO_BOX if suffix == ".txt" else _YOLO_NAMES
    return _YOLO if yolo.search(head) else None


def _tool_of_json(head: bytes) -> tuple[str, str] | None:
    """Return the tool of a JSON file by the keys in its first bytes."""
    is_list = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    keys = {match.decode("latin-1") for match in re.findall(rb'"([\w .-]{1,40})"\s*:', head)}
    for needed, of_list, tool in _JSON_TOOLS:
        if of_list == is_list and needed <= keys:
            return tool
    return None


_YOLO = (
    "YOLO without data.yaml and labels/ next to it",
    f"put data.yaml there, which names the classes and the folders of photos, or {_AS_COCO}",
)
_YOLO_NAMES = re.compile(rb"(?m)^names\s*:")
_YOLO_BOX = re.compile(rb"\A\d+( \d*\.\d+){4,}\s")
_LABEL_STUDIO = "Label Studio without annotations", "export it as JSON, JSON-MIN or CSV there"
_RESULTS = (
    "a model (COCO's list of results)",
    "add the JSON with the images and categories that it was given; `tag2mask masks import` takes "
    "the results in as masks",
)
_FIFTYONE = "FiftyOne without data/ next to it", "put the photos into data/ there"
_JSON_TOOLS: tuple[tuple[frozenset[str], bool, tuple[str, str]], ...] = (
    (frozenset({"_via_img_metadata"}), False, ("VGG Image Annotator", f"{_AS_COCO} there")),
    (frozenset({"filename", "regions"}), False, ("VGG Image Annotator", f"{_AS_COCO} there")),
    (frozenset({"classes", "labels"}), False, _FIFTYONE),
    (frozenset({"item", "annotations"}), False, ("V7 Darwin", f"{_AS_COCO} there")),
    (frozenset({"asset", "regions"}), False, ("VoTT", f"{_AS_COCO} there")),
    (frozenset({"image", "annotations", "coordinates"}), True, ("CreateML", _AS_COCO)),
    (frozenset({"image_id", "category_id"}), True, _RESULTS),
    (frozenset({"Label", "External ID"}), True, ("Labelbox", f"{_AS_COCO} there")),
    (frozenset({"annotations", "data"}), True, _LABEL_STUDIO),
    (frozenset({"id", "image"}), True, _LABEL_STUDIO),
)
"""Keys that a file has, whether it is a list of objects, and the tool that writes it."""
_KNOWN_NAMES = {
    "metadata.jsonl": (
        "Hugging Face's ImageFolder without tags",
        "write `file_name` and `tags` into each of its lines",
    ),
    "metadata.csv": (
        "Hugging Face's ImageFolder",
        "rename its columns `file_name` and `label` to `image` and `tags`, and the file to "
        "tags.csv next to the folder",
    ),
    "_darknet.labels": _YOLO,
    "obj.names": _YOLO,
    "obj.data": _YOLO,
}
