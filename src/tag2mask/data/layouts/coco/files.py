"""Which JSON files of a data folder are COCO's, and of which split."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.listing import subfolders
from tag2mask.data.layouts.splits import usual_split
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
    chosen: list[tuple[Path, str]] = []
    for split in (options.train_split, options.val_split):
        named = [] if split is None else files_of_split(candidates, root, split)
        if len(named) > 1:
            raise DataError(
                f"several JSON files for split {split!r}: {first_few(p.name for p in named)}",
                where=root,
                fix="Name the split with its year, as in `train2017`.",
            )
        chosen += [(path, split or "") for path in named]
    if any(split == options.train_split for _, split in chosen):
        return chosen
    rest = [path for path in candidates if path not in [p for p, _ in chosen]]
    if options.train_split.endswith(".txt"):
        return [(path, "") for path in rest] + chosen
    if len(rest) != 1:
        raise DataError(
            f"no JSON for split {options.train_split!r} among "
            f"{first_few(p.name for p in candidates)}",
            where=root,
            fix="Set prepare.train_split, or name the file instances_train.json.",
        )
    return [(rest[0], ""), *chosen]


def files_of_split(files: Sequence[Path], root: Path, split: str) -> list[Path]:
    """Return the JSON files of a split, by their names or those of their folders.

    Only where none has the name itself, such as ``val``, usual ones count, such as ``valid``.
    """
    names = {path: _split_name(path, root) for path in files}
    named = [path for path in files if re.fullmatch(rf"{re.escape(split)}(\d{{4}})?", names[path])]
    usual = usual_split(split)
    if named or usual is None:
        return named
    return [path for path in files if usual_split(re.sub(r"\d{4}$", "", names[path])) == usual]


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
