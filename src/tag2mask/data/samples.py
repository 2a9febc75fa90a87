"""What a source found (``Inventory``), and the prepared index that every later step reads.

The index is four small files in ``prepare/``: ``classes.json``, ``train.jsonl`` and ``val.jsonl``
(one photo a line), ``source.json`` (layout and place of the data), and, only where masks exist,
``masks.jsonl``. Photos and masks lie in separate files so that training, which opens the first,
has no way to a mask. Paths are kept relative to the data folder: moving it costs nothing.

Left out: pixels. Nothing here opens a photo or a mask.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts import atomic_write, read_json, write_json
from tag2mask.classes import ClassSet
from tag2mask.errors import RunFolderError
from tag2mask.sections import Prepare

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
TagSource = Literal["auto", "annotations", "tags.csv", "cls_labels"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo of a split, as training and inference see it. It knows no mask.

    Attributes:
        id: relative path without suffix, ``/`` as separator; never absolute, no ``..``.
        image: absolute path of the photo.
        size: (h, w) px, upright (after EXIF orientation).
        tags: sorted tag ids; () = background only.
        stamp: ``<bytes>-<mtime_ns>``: tells whether the photo changed.
    """

    id: str
    image: Path
    size: tuple[int, int]
    tags: tuple[int, ...]
    stamp: str


@dataclass(frozen=True)
class SourceOptions:
    """What a source may be told.

    Attributes:
        train_split: name of a split, or path of a text file of ids.
        val_split: the same for validation; None: none.
        tags: where a VOC layout's tags come from.
    """

    train_split: str = "train"
    val_split: str | None = "val"
    tags: TagSource = "auto"

    @classmethod
    def of(cls, section: Prepare) -> Self:
        """What a recipe's section says."""
        return cls(section.train_split, section.val_split, section.tags)


class Entry(NamedTuple):
    """One photo as a source found it, tags still by name. Paths are relative to the data folder."""

    id: str
    split: Split
    tags: tuple[str, ...]
    image: str | None
    """None: the photo is missing (the source reports it)."""
    stamp: str
    mask: str | None = None
    mask_stamp: str = ""
    where: str = ""
    """File and line that names the photo."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data, as one line.

    Attributes:
        message: what, where, and how to mend it.
        photo: id of the photo that can be left out instead; None: leaving out doesn't help.
        warning: True where training may go on.
    """

    message: str
    photo: str | None = None
    warning: bool = False


class DrawnMasks(Protocol):
    """Masks that a layout holds as outlines instead of pixels."""

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Mask ids of a photo of ``size`` (h, w); DataError where its outlines don't fit it."""


@dataclass(frozen=True)
class Inventory:
    """Everything a source found, with all the problems it met.

    Attributes:
        layout: ``voc``, ``coco``, ``csv`` or ``folders``.
        root: absolute; every path of the entries is relative to it.
        class_names: foreground classes in the order of their tag ids (not checked yet).
        entries: one a photo and split, in the order of the lists or tables.
        problems: what went wrong while reading.
        found_splits: names of all splits met, wanted or not.
        drawn_masks: set where entries have a ``mask_stamp`` but no mask file.
        reads: files that tell the tags, to be named in messages.
        class_list: the file that names the classes, likewise; empty: none but ``reads``.
        names_from_tags: no list names the classes, so a slip in a tag becomes a class.
    """

    layout: str
    root: Path
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()
    found_splits: tuple[str, ...] = ()
    drawn_masks: DrawnMasks | None = None
    reads: str = ""
    class_list: str = ""
    names_from_tags: bool = False


class MaskRow(NamedTuple):
    """One line of ``masks.jsonl``."""

    id: str
    mask: str
    """Relative to the data folder, or to the prepared folder where ``drawn``."""
    drawn: bool
    stamp: str


def write_index(folder: Path, split: Split, samples: Iterable[Sample], root: Path) -> None:
    """Write one split's samples, their paths relative to ``root``.

    Raises:
        RunFolderError: the folder can't be written.
    """
    def rows() -> Iterator[Any]:
        for sample in samples:
            yield {
                "id": sample.id, "image": sample.image.relative_to(root).as_posix(),
                "size": sample.size, "tags": sample.tags, "stamp": sample.stamp,
            }

    _write_lines(folder / f"{split}.jsonl", rows())


def read_index(folder: Path, split: Split) -> list[Sample]:
    """Read a split's samples in their order; an absent validation split is an empty list.

    Args:
        folder: a ``prepare/`` folder.
        split: ``train`` or ``val``.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    root = data_root(folder)

    def sample(row: Any) -> Sample:
        height, width = row["size"]
        return Sample(id=row["id"], image=root / row["image"], size=(height, width),
                      tags=tuple(row["tags"]), stamp=row["stamp"])

    return list(_read_lines(folder / f"{split}.jsonl", sample))


def write_masks(folder: Path, rows: Iterable[MaskRow]) -> None:
    """Write ``masks.jsonl``; with no row, remove it."""
    rows = list(rows)
    path = folder / "masks.jsonl"
    if not rows:
        path.unlink(missing_ok=True)
        return
    _write_lines(path, ({"id": r.id, "mask": r.mask, "drawn": r.drawn, "stamp": r.stamp}
                        for r in rows))


def read_mask_rows(folder: Path) -> list[MaskRow]:
    """Rows of ``masks.jsonl``; none where no photo has a mask.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / "masks.jsonl"
    if not path.exists():
        return []
    return list(_read_lines(
        path, lambda row: MaskRow(row["id"], row["mask"], row["drawn"], row["stamp"])))


def read_masks(folder: Path) -> dict[str, Path]:
    """Absolute path of each mask by photo id: for evaluation and calibration only.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    root = data_root(folder)
    return {row.id: (folder if row.drawn else root) / row.mask for row in read_mask_rows(folder)}


def read_classes(folder: Path) -> ClassSet:
    """The classes of a ``prepare/`` folder.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    values = read_json(folder / "classes.json")
    try:
        return ClassSet(tuple(values["names"]))
    except (KeyError, TypeError):
        raise _damaged(folder / "classes.json") from None


def data_root(folder: Path) -> Path:
    """Where the photos of a ``prepare/`` folder lie.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    values = read_json(folder / "source.json")
    try:
        return Path(values["root"])
    except (KeyError, TypeError):
        raise _damaged(folder / "source.json") from None


def write_source(folder: Path, layout: str, root: Path) -> None:
    """Note the layout and place of the data."""
    write_json(folder / "source.json", {"layout": layout, "root": str(root)})


def photos_fingerprint(samples: dict[Split, list[Sample]]) -> str:
    """sha256 (hex) of ids, tags, stamps and splits; not of the place nor of masks."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(f"\n{split}\n".encode())
        for s in samples[split]:
            digest.update(f"{s.id}\0{s.tags}\0{s.stamp}\n".encode())
    return digest.hexdigest()


def masks_fingerprint(folder: Path) -> str:
    """sha256 (hex) of which masks there are and their stamps: an input of whatever reads masks.

    Raises:
        RunFolderError: the index is damaged.
    """
    digest = hashlib.sha256()
    for row in read_mask_rows(folder):
        digest.update(f"{row.id}\0{row.mask}\0{row.stamp}\n".encode())
    return digest.hexdigest()


def _write_lines(path: Path, rows: Iterable[Any]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


Row = TypeVar("Row")


def _read_lines(path: Path, make: Callable[[Any], Row]) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield make(json.loads(line))
    except FileNotFoundError:
        raise RunFolderError(f"{path.name} is missing", where=path.parent,
                             fix="Run `tag2mask prepare` again.") from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None


def _damaged(path: Path) -> RunFolderError:
    return RunFolderError(f"{path.name} is damaged", where=path.parent,
                          fix="Delete the folder and run `tag2mask prepare` again.")
