"""Splits: which photos are for training and validation, by lists of ids or by the data itself.

A list of ids is a text file with one id per line::

    2007_000032
    street/001
    2007_000032 -1                                                      (VOC's lists per class)
    /JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png   (psa's lists)
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem, SourceOptions
from tag2mask.data.layouts.ids import normalize_path, without_suffix
from tag2mask.data.splits import SPLITS, Split
from tag2mask.errors import DataError, first_few, nearest_hint
from tag2mask.formats.text_files.text_lines import read_lines
from tag2mask.text.letters import letters_of

_USUAL_SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("eval", "evaluation", "valset", "validationset"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "holdout", "heldout"), "test"),
    **dict.fromkeys(("publictest", "privatetest"), "test"),
}
"""Splits by the names that data sets give them, in lower case and without punctuation."""
_OTHER_WORDS = frozenset(
    {"label", "labels", "tag", "tags", "class", "classes", "annotation", "annotations", "data"}
    | {"df", "image", "images", "photo", "photos", "set", "list", "metadata", "img", "imgs"}
    | {"jpg", "jpeg", "png"}
)
"""Words in the name of a table or folder in addition to its split."""
_CLASS_LINE = re.compile(r"\s*(\S+)\s+(?:-1|0|1)\s*")
"""A line of VOC's lists of one class."""


def usual_split(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for its usual names; None for another name."""
    return _USUAL_SPLITS.get(letters_of(name))


def is_usual_name(name: str, split: str) -> bool:
    """Return whether a name is a usual one of a split, as ``valid`` is of ``val``."""
    usual = usual_split(split)
    return usual is not None and usual_split(name) == usual


def split_in_name(name: str) -> str:
    """Return the split that the name of a table or folder has: ``train_labels``; empty: none."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    rest = [word for word in words if word not in _OTHER_WORDS]
    return usual_split(rest[0]) or "" if len(rest) == 1 else ""


class ListedPhoto(NamedTuple):
    """One line of a split list."""

    id: str
    mask: str | None
    where: str


def read_id_list(path: Path) -> tuple[list[ListedPhoto], list[DataProblem]]:
    """Read a text file of ids, one per line.

    The numbers of VOC's lists per class (``2007_000032 -1``) are ignored where all lines have one:
    tags come from elsewhere. A line may also be a photo's path, with its mask in a second column,
    as in psa's lists; a leading slash then means the data folder.

    Returns:
        The listed photos (with their folders, without suffix), and the problems.

    Raises:
        DataError: it can't be read.
    """
    photos: list[ListedPhoto] = []
    problems: list[DataProblem] = []
    lines = [(number, line) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    # Only in a list whose lines all have a number is it no part of the name: `photo 1`, `photo 2`.
    of_one_class = all(_CLASS_LINE.fullmatch(line) for _, line in lines)
    for number, line in lines:
        where = f"{path.name} line {number}"
        photo, mask = _columns(line, of_one_class=of_one_class)
        if mask is not None or photo.startswith("/JPEGImages/"):
            photo = photo.lstrip("/")
        texts = (photo,) if mask is None else (photo, mask.lstrip("/"))
        plain: list[str] = []
        for text in texts:
            written, problem = normalize_path(text)
            if problem:
                problems.append(DataProblem(f"{where}: {text!r} {problem}"))
            else:
                plain.append(written)
        if len(plain) == len(texts):
            photos.append(
                ListedPhoto(without_suffix(plain[0]), plain[1] if len(plain) > 1 else None, where)
            )
    return photos, problems


def _first_name(path: Path) -> str:
    """Return the name of the first photo of a list, without folder and suffix; empty: none."""
    try:
        photos, _ = read_id_list(path)
    except DataError:
        return ""
    return photos[0].id.rpartition("/")[2] if photos else ""


def _columns(line: str, *, of_one_class: bool) -> tuple[str, str | None]:
    """Split a line into photo and mask; names may have spaces, so both must look like paths."""
    match = re.fullmatch(r"\s*(\S.*\.\w+)\s+(\S.*\.png)\s*", line, re.IGNORECASE)
    if match:
        return match[1], match[2]
    class_line = _CLASS_LINE.fullmatch(line) if of_one_class else None
    return (class_line[1] if class_line else line.strip()), None


def find_list(root: Path, name: str) -> Path | None:
    """Return the text file that a split setting names; None where it is the name of a split.

    It is looked for in the data folder, then in the working directory.

    Raises:
        DataError: the file doesn't exist.
    """
    if not name.endswith(".txt"):
        return None
    for candidate in (root / name, Path(name)):
        if os.path.isfile(candidate):  # noqa: PTH113 - Path raises where a name is too long
            return candidate
    raise DataError(
        f"no list of ids {name!r}",
        where=root,
        fix="Give the path of a text file with one id per line.",
    )


class SplitRule:
    """Decides a photo's split by lists of ids, or by the split that the data gives it.

    ``Training`` and ``valid`` are the splits ``train`` and ``val``, unless they are requested.

    Args:
        root: the data folder.
        options: the requested splits.

    Raises:
        DataError: a list is missing or can't be read.
    """

    def __init__(self, root: Path, options: SourceOptions) -> None:
        self._names: dict[str, Split] = {}
        self._listed: dict[str, Split] = {}
        self._list_lines: dict[str, str] = {}
        self._problems: list[DataProblem] = []
        self._root = root
        self._train_is_listed = False
        self._unrequested: Counter[str] = Counter()
        self._seen: set[str] = set()
        for split, name in zip(SPLITS, (options.train_split, options.val_split), strict=True):
            if name is None:
                continue
            path = find_list(root, name)
            if path is None:
                self._names.setdefault(name, split)
            else:
                self._add_list(path, split)

    def _add_list(self, path: Path, split: Split) -> None:
        """Assign the photos of a text file of ids to a split."""
        self._train_is_listed |= split == "train"
        photos, problems = read_id_list(path)
        self._problems += problems
        for photo in photos:
            if photo.id in self._listed:
                self._problems.append(
                    DataProblem(
                        f"{photo.where}: photo {photo.id!r} is listed twice "
                        f"(also in {self._list_lines[photo.id]}); remove one of the two"
                    )
                )
            self._listed[photo.id] = split
            self._list_lines[photo.id] = photo.where

    def split_of(self, id: str, written: str = "") -> Split | None:
        """Return the split of a photo, or None where it is in none of the requested ones.

        Args:
            id: the photo.
            written: the split that the data gives it; empty: training, unless the training photos
                are listed in a file.
        """
        listed = self._listed.get(id)
        if listed is not None:
            return listed
        if not written:
            return None if self._train_is_listed else "train"
        usual = {usual_split(name): name for name in self._names if usual_split(name)}
        name = written if written in self._names else usual.get(usual_split(written), written)
        self._seen.add(name)
        split = self._names.get(name)
        if split is None:
            self._unrequested[written] += 1
        return split

    def problems(self, known: Collection[str]) -> list[DataProblem]:
        """Return what is wrong with the lists and splits; call it after `split_of` of every photo.

        Args:
            known: ids of the photos in the data.
        """
        unknown = [
            DataProblem(
                f"{self._list_lines[id]}: photo {id!r} is not in the data; remove its line",
                photo=id,
            )
            for id in self._listed
            if id not in known
        ]
        return [
            *self._problems,
            *self._missing_splits(),
            *self._unused_splits(),
            *self._unread_lists(known),
            *unknown,
        ]

    def _unread_lists(self, known: Collection[str]) -> list[DataProblem]:
        """Return a warning of lists of photos next to data without splits: one may be for tests."""
        if self._listed or self._seen:
            return []
        names = {id.rpartition("/")[2] for id in known}
        lists = [
            path.name
            for path in sorted(self._root.glob("*.txt"))
            if any(map(usual_split, re.findall(r"[A-Z]?[a-z]+|[A-Z]+", path.stem)))
            if path.stem not in names  # a text about one photo
            if path.is_file() and _first_name(path) in names
        ]
        if not lists:
            return []
        message = (
            f"lists of photos that are not read: {first_few(lists)}; set prepare.train_split and "
            "prepare.val_split to those for training and validation"
        )
        return [DataProblem(message, warning=True)]

    def _missing_splits(self) -> list[DataProblem]:
        """Return a problem where no photo has the validation split, unless it is the default."""
        return [
            DataProblem(
                f"no photo of split {name!r}{nearest_hint(name, self._unrequested)}; set "
                "prepare.val_split to an existing split, or to null for none"
            )
            for name, split in self._names.items()
            if split == "val" and name not in {SourceOptions().val_split, *self._seen}
        ]

    def _unused_splits(self) -> list[DataProblem]:
        """Return a warning where photos are not used because of their split, except ``test``."""
        unused = [
            f"{count} of split {name!r}{nearest_hint(name, self._names)}"
            for name, count in self._unrequested.items()
            if usual_split(name) != "test"
        ]
        if not unused:
            return []
        return [
            DataProblem(
                f"photos that are not used: {', '.join(unused)} (correct the name, or set "
                "prepare.train_split or prepare.val_split to it)",
                warning=True,
            )
        ]
