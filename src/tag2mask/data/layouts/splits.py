"""Which photos train and which validate: lists of ids, and the splits that a source wrote."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem, SourceOptions, Split
from tag2mask.data.layouts.listing import read_lines, without_suffix, written_path
from tag2mask.errors import DataError, nearest_hint


class ListedPhoto(NamedTuple):
    """One line of a split list."""

    id: str
    mask: str | None
    where: str


def read_id_list(path: Path) -> tuple[list[ListedPhoto], list[DataProblem]]:
    """Read a text file of ids, one a line.

    Of a line of VOC's class lists (``2007_000032 -1``) the id counts, not the number: tags come
    from elsewhere. A line may also be a photo's path, and may name its mask in a second column, as
    psa's lists do (``/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png``): there a
    leading slash means the data folder.

    Returns:
        The listed photos (paths still with their folders, suffixes removed), and the problems.

    Raises:
        DataError: it can't be read.
    """
    photos: list[ListedPhoto] = []
    problems: list[DataProblem] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        photo, mask = _columns(line)
        if mask is not None or photo.startswith("/JPEGImages/"):
            photo = photo.lstrip("/")
        texts = (photo,) if mask is None else (photo, mask.lstrip("/"))
        plain: list[str] = []
        for text in texts:
            written, problem = written_path(text)
            if problem:
                problems.append(DataProblem(f"{where}: {text!r} {problem}"))
            else:
                plain.append(written)
        if len(plain) == len(texts):
            photos.append(
                ListedPhoto(without_suffix(plain[0]), plain[1] if len(plain) > 1 else None, where)
            )
    return photos, problems


def _columns(line: str) -> tuple[str, str | None]:
    """Photo and mask of a list's line; a name may hold spaces, so both must look like paths."""
    match = re.fullmatch(r"\s*(\S.*\.\w+)\s+(\S.*\.png)\s*", line, re.IGNORECASE)
    if match:
        return match[1], match[2]
    of_class = re.fullmatch(r"\s*(\S+)\s+(?:-1|0|1)\s*", line)
    return (of_class[1] if of_class else line.strip()), None


def find_list(root: Path, name: str) -> Path | None:
    """The text file that a split setting names, looked for in the data folder and from here."""
    if not name.endswith(".txt"):
        return None
    for candidate in (root / name, Path(name)):
        if os.path.isfile(candidate):  # noqa: PTH113 - Path raises where a name is too long
            return candidate
    raise DataError(
        f"no list of ids {name!r}",
        where=root,
        fix="Give the path of a text file with one id a line.",
    )


class SplitRule:
    """Decides a photo's split from what its source wrote, or from lists of ids.

    Args:
        root: the data folder.
        options: the wanted splits.

    Raises:
        DataError: a list is missing or can't be read.
    """

    def __init__(self, root: Path, options: SourceOptions) -> None:
        self._names: dict[str, Split] = {}
        self._listed: dict[str, Split] = {}
        self._wheres: dict[str, str] = {}
        self._problems: list[DataProblem] = []
        self.train_is_listed = False
        self._not_asked_for: Counter[str] = Counter()
        self._met: set[str] = set()
        for split, wanted in (("train", options.train_split), ("val", options.val_split)):
            side: Split = "train" if split == "train" else "val"
            path = None if wanted is None else find_list(root, wanted)
            if path is None:
                if wanted is not None:
                    self._names.setdefault(wanted, side)
                continue
            self.train_is_listed |= side == "train"
            photos, problems = read_id_list(path)
            self._problems += problems
            for photo in photos:
                if photo.id in self._listed:
                    self._problems.append(
                        DataProblem(
                            f"{photo.where}: photo {photo.id!r} is listed twice "
                            f"(also in {self._wheres[photo.id]}); remove one of the two"
                        )
                    )
                self._listed[photo.id] = side
                self._wheres[photo.id] = photo.where

    def split_of(self, id: str, written: str = "") -> Split | None:
        """Split of a photo, or None where it takes part in none.

        Args:
            id: the photo.
            written: the split its source gives; empty: training, unless training is a list.
        """
        listed = self._listed.get(id)
        if listed is not None:
            return listed
        if not written:
            return None if self.train_is_listed else "train"
        split = self._names.get(written)
        self._met.add(written)
        if split is None:
            self._not_asked_for[written] += 1
        return split

    def problems(self, known: Collection[str]) -> list[DataProblem]:
        """What is wrong with the lists and the written splits, once every photo was asked about.

        Args:
            known: ids that the data holds.
        """
        unknown = [
            DataProblem(
                f"{self._wheres[id]}: photo {id!r} is not in the data; remove its line", photo=id
            )
            for id in self._listed
            if id not in known
        ]
        return [*self._problems, *self._unmet(), *self._left_out(), *unknown]

    def _unmet(self) -> list[DataProblem]:
        """A validation split by a name of its own that no photo has; by the usual one it may."""
        return [
            DataProblem(
                f"no photo of split {name!r}{nearest_hint(name, self._not_asked_for)}; set "
                "prepare.val_split to one that there is, or to null for none"
            )
            for name, side in self._names.items()
            if side == "val" and name not in {SourceOptions().val_split, *self._met}
        ]

    def _left_out(self) -> list[DataProblem]:
        """A warning where photos take no part because of their split, ``test`` apart."""
        said = [
            f"{count} of split {name!r}{nearest_hint(name, self._names)}"
            for name, count in self._not_asked_for.items()
            if name != "test"
        ]
        return (
            [
                DataProblem(
                    f"photos that take no part: {', '.join(said)} (mend the name, or set "
                    "prepare.train_split or prepare.val_split to it)",
                    warning=True,
                )
            ]
            if said
            else []
        )
