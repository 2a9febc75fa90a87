"""Which JSON files of a data folder are COCO's, and of which split."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.listing import subfolders
from tag2mask.data.layouts.splits import is_usual_name
from tag2mask.errors import DataError, first_few
from tag2mask.files.regular_file import open_regular

_MOST_FILES = 50
"""JSON files of a folder that are looked into."""
_PART = 1 << 20
"""Bytes that are read of each end of a file."""
_OTHER_TASKS = ("captions_", "person_keypoints_", "image_info_", "stuff_", "panoptic_")


def find_coco_files(root: Path, options: SourceOptions) -> list[tuple[Path, str]]:
    """Return the JSON files to read, each with its split ("": its name doesn't say).

    Raises:
        DataError: no file, several for one split, or none for training.
    """
    candidates = candidate_files(root)
    if not candidates:
        raise DataError(
            "no COCO JSON", where=root, fix="Put instances_train.json into annotations/."
        )
    chosen: dict[Path, str] = {}
    for split in filter(None, (options.train_split, options.val_split)):
        free = [path for path in candidates if path not in chosen]
        named = files_of_split(free, root, split)
        if len(named) > 1:
            raise DataError(
                f"several JSON files for split {split!r}: "
                f"{first_few(path.relative_to(root).as_posix() for path in named)}",
                where=root,
                fix="Name the split with its year, as in `train2017`.",
            )
        if not named and (chosen or len(free) > 1):  # a single file is for training
            named = files_of_usual_split(free, root, split)
        if len(named) == 1:  # of several usual names none, which is a warning
            chosen[named[0]] = split
    if options.train_split in chosen.values():
        return list(chosen.items())
    rest = [path for path in candidates if path not in chosen]
    if options.train_split.endswith(".txt"):
        return [(path, "") for path in rest] + list(chosen.items())
    test = files_of_split(rest, root, "test")
    rest = [path for path in rest if path not in test]
    if len(rest) != 1:
        names = (path.relative_to(root).as_posix() for path in candidates)
        raise DataError(
            f"no JSON for split {options.train_split!r} among {first_few(names)}",
            where=root,
            fix="Set prepare.train_split, or name the file instances_train.json.",
        )
    return [(rest[0], ""), *chosen.items()]


def files_of_split(files: Sequence[Path], root: Path, split: str) -> list[Path]:
    """Return the JSON files that have a split's name, or whose folders have it."""
    name = re.compile(rf"{re.escape(split)}(\d{{4}})?")
    return [path for path in files if name.fullmatch(_split_name(path, root))]


def files_of_usual_split(files: Sequence[Path], root: Path, split: str) -> list[Path]:
    """Return the JSON files with a usual name of a split: ``valid`` and ``validation2017``."""
    names = {path: re.sub(r"\d{4}$", "", _split_name(path, root)) for path in files}
    return [path for path, name in names.items() if is_usual_name(name, split)]


def _split_name(path: Path, root: Path) -> str:
    if path.name == "_annotations.coco.json":
        return "" if path.parent == root else path.parent.name
    return name_of_split(path)


def name_of_split(path: Path) -> str:
    """Return a file's name without words such as ``instances``: ``train2017``, or nothing."""
    what = "instances|annotations?|coco|labels?"
    return re.sub(rf"^({what})([_-]|$)|[_-]({what})$", "", path.stem)


def candidate_files(root: Path) -> list[Path]:
    """Return the JSON files that may be COCO's instances, by their names or what they hold."""
    found = named_files(root)
    for folder in (root / "annotations", root):
        others = [
            path
            for path in sorted(folder.glob("*.json"))
            if path not in found and not path.name.startswith((*_OTHER_TASKS, "."))
        ]
        if len(others) <= _MOST_FILES:  # more: one per photo, as LabelMe writes them
            found += [path for path in others if _is_coco_json(path)]
    return found


def named_files(root: Path) -> list[Path]:
    """Return the JSON files that are COCO's by their names, whatever they hold."""
    found = sorted((root / "annotations").glob("instances*.json"))
    found += [p for p in sorted(root.glob("*.json")) if p.name.startswith("instances")]
    found += [root / name for name in ("coco.json", "_annotations.coco.json")]
    found += [root / name / "_annotations.coco.json" for name in subfolders(root)]
    return [path for path in found if path.is_file()]


def _is_coco_json(path: Path) -> bool:
    """Return whether a file is one JSON object with the lists of COCO, by its first and last part.

    Tools write the lists of images and categories before or after the long one of annotations.
    """
    try:
        with open_regular(path) as file:
            text = file.read(_PART)
            file.seek(max(file.tell(), file.seek(0, os.SEEK_END) - _PART))
            text += file.read(_PART)
    except OSError:
        return False
    is_object = text.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    lists = set(re.findall(rb'"(images|categories|annotations)"\s*:\s*\[', text))
    return is_object and len(lists) > 1
