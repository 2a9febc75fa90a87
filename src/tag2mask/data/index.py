"""The index in ``prepare/``, which every later step reads: photos, tags, classes and masks.

It consists of small files: ``classes.json``; ``train.jsonl`` and ``val.jsonl`` (one photo per
line); ``source.json`` (layout and location of the data); and, where masks exist, ``masks.jsonl``.
Photos and masks are in separate files so that training, which reads the first, has no access to a
mask. Paths are stored relative to the data folder.

Nothing here opens a photo or a mask.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tag2mask.artifacts.items import checked_id
from tag2mask.classes import MAX_CLASSES, UNPRINTABLE, ClassSet, classes_in
from tag2mask.data.splits import SPLITS, Split
from tag2mask.errors import DataError, RunFolderError
from tag2mask.files.atomic import atomic_write
from tag2mask.files.json_file import read_json, write_json
from tag2mask.files.regular_file import SpecialFileError, open_regular
from tag2mask.text.json_text import parse_json


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo of a split for training and inference. It has no mask.

    Attributes:
        id: relative path without suffix, ``/`` as separator; never absolute, no ``..``.
        image: absolute path of the photo.
        size: (h, w) px, upright (after EXIF orientation).
        tags: sorted tag ids; () = background only.
        stamp: ``<bytes>-<mtime_ns>``, which differs once the photo is changed.
        group: photos of one group are never divided between the splits; empty: the photo is alone.
    """

    id: str
    image: Path
    size: tuple[int, int]
    tags: tuple[int, ...]
    stamp: str
    group: str = ""

    @property
    def pixels(self) -> int:
        """Number of pixels of the photo."""
        return self.size[0] * self.size[1]


def group_of(sample: Sample) -> str:
    """Return the group of a photo, within which photos are not independent, else its own id."""
    return sample.group or sample.id


class MaskRow(NamedTuple):
    """One line of ``masks.jsonl``."""

    id: str
    mask: str
    """Path relative to the data folder, or to the prepared folder where ``drawn``."""
    drawn: bool
    """Drawn from outlines by ``prepare``."""
    stamp: str
    values: tuple[int, ...] | None = None
    """The values in the mask, sorted; None: not read yet."""


def write_index(folder: Path, split: Split, samples: Iterable[Sample], root: Path) -> None:
    """Write the samples of a split, with paths relative to ``root``.

    Raises:
        RunFolderError: the folder can't be written.
    """

    def rows() -> Iterator[Any]:
        for sample in samples:
            yield {
                "id": sample.id,
                "image": sample.image.relative_to(root).as_posix(),
                "size": sample.size,
                "tags": sample.tags,
                "stamp": sample.stamp,
            } | ({"group": sample.group} if sample.group else {})

    _write_lines(folder / f"{split}.jsonl", rows())


def read_index(folder: Path, split: Split) -> list[Sample]:
    """Read the samples of a split in their order; a missing validation split is an empty list.

    Args:
        folder: a ``prepare/`` folder.
        split: ``train`` or ``val``.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    root = data_root(folder)
    path = folder / f"{split}.jsonl"
    return list(_read_lines(path, lambda row: _sample(row, root)))


def read_samples(folder: Path, splits: Collection[Split] = SPLITS) -> list[Sample]:
    """Read the samples of several splits, those for training first.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    return [s for split in SPLITS if split in splits for s in read_index(folder, split)]


def all_samples(samples: Mapping[Split, Sequence[Sample]]) -> list[Sample]:
    """Return the samples of all splits, those for training first."""
    return [sample for split in SPLITS for sample in samples[split]]


def _sample(row: Any, root: Path) -> Sample:
    """Return the sample of a line.

    Raises:
        ValueError, KeyError, TypeError: a value is missing or impossible.
    """
    height, width = map(_count, row["size"])
    tags = tuple(map(_count, row["tags"]))
    if min(height, width) < 1 or tags != tuple(sorted(set(tags))) or tags[-1:] > (MAX_CLASSES - 1,):
        raise ValueError(row)
    return Sample(
        id=checked_id(row["id"]),
        image=root / checked_id(row["image"]),
        size=(height, width),
        tags=tags,
        stamp=_text(row["stamp"]),
        group=_text(row.get("group", "")),
    )


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or UNPRINTABLE.search(value):
        raise ValueError(value)
    return value


def write_mask_rows(folder: Path, rows: Iterable[MaskRow]) -> None:
    """Write ``masks.jsonl``; without rows, remove it."""
    rows = list(rows)
    path = folder / "masks.jsonl"
    if not rows:
        path.unlink(missing_ok=True)
        return
    _write_lines(path, (row._asdict() for row in rows))


def read_mask_rows(folder: Path) -> list[MaskRow]:
    """Read the rows of ``masks.jsonl``; empty where no photo has a mask.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / "masks.jsonl"
    if not path.exists():
        return []
    return list(_read_lines(path, _mask_row))


def _mask_row(row: Any) -> MaskRow:
    """Return the row of a line.

    Raises:
        ValueError, KeyError, TypeError: a value is missing or impossible.
    """
    values = row.get("values")
    if values is not None and not all(isinstance(value, int) for value in values):
        raise TypeError
    if not isinstance(row["drawn"], bool):
        raise TypeError
    return MaskRow(
        id=checked_id(row["id"]),
        mask=checked_id(row["mask"]),
        drawn=row["drawn"],
        stamp=_text(row["stamp"]),
        values=None if values is None else tuple(values),
    )


def read_mask_paths(folder: Path) -> dict[str, Path]:
    """Return the absolute path of each mask by photo id, for evaluation and calibration only.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    root = data_root(folder)
    return {row.id: (folder if row.drawn else root) / row.mask for row in read_mask_rows(folder)}


def read_classes(folder: Path) -> ClassSet:
    """Read the classes of a ``prepare/`` folder.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    values = read_json(folder / "classes.json")
    try:
        return classes_in(values)
    except (ValueError, DataError):
        raise _damaged(folder / "classes.json") from None


def data_root(folder: Path) -> Path:
    """Return the data folder of a ``prepare/`` folder.

    Raises:
        RunFolderError: the index is missing or damaged.
    """
    values = read_json(folder / "source.json")
    try:
        return Path(_text(values["root"]))
    except (KeyError, TypeError, ValueError):
        raise _damaged(folder / "source.json") from None


def write_source(folder: Path, layout: str, root: Path) -> None:
    """Write the layout and location of the data."""
    write_json(folder / "source.json", {"layout": layout, "root": str(root)})


def photos_fingerprint(samples: dict[Split, list[Sample]]) -> str:
    """Return the sha256 (hex) of ids, tags, stamps and splits, not of the location or of masks."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(f"\n{split}\n".encode())
        for s in samples[split]:
            digest.update(f"{s.id}\0{s.tags}\0{s.stamp}\n".encode())
    return digest.hexdigest()


def masks_fingerprint(folder: Path) -> str:
    """Return the sha256 (hex) of all masks' paths and stamps: an input of steps that read masks.

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
        with open_regular(path) as lines:
            for line in lines:
                row = parse_json(line)
                if not isinstance(row, dict):
                    raise TypeError
                yield make(row)
    except FileNotFoundError:
        raise RunFolderError(
            f"{path.name} is missing", where=path.parent, fix="Run `tag2mask prepare` again."
        ) from None
    except (SpecialFileError, ValueError, KeyError, TypeError):
        raise _damaged(path) from None


def _damaged(path: Path) -> RunFolderError:
    return RunFolderError(
        f"{path.name} is damaged",
        where=path.parent,
        fix="Delete the folder and run `tag2mask prepare` again.",
    )
