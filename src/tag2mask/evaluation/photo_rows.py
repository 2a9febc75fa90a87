"""Write and read ``photos.jsonl``, which has one line per photo that was evaluated.

It is written while the photos are counted, so that no line stays in memory. A photo's quality
scores are its ranks among all photos of its split. So each process first writes the rows of its
photos to a temporary file, and the scores are added at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from tag2mask.artifacts.items import checked_id
from tag2mask.errors import RunFolderError
from tag2mask.files.atomic import atomic_write, temporary_path
from tag2mask.files.links import open_itself
from tag2mask.files.regular_file import open_regular
from tag2mask.metrics.confusion import Int64
from tag2mask.text.json_text import parse_json

T = TypeVar("T")
Row = dict[str, Any]
Place = tuple[str, str]
"""Split and id of a photo."""


class StageCounts(NamedTuple):
    """The pixels of a photo at one stage.

    Attributes:
        stage: the name of the stage.
        group: what the photo shares with others; its id if it shares nothing.
        cells: its confusion matrix as (n, 3): true id, predicted id, pixels.
    """

    stage: str
    group: str
    cells: Int64


class PhotoRows:
    """The rows of all photos, in temporary files beside ``path`` inside a ``with`` block.

    Args:
        path: the ``photos.jsonl`` to write.
        rank: of this process, which adds every ``ranks``-th photo of each split.
        ranks: number of processes.
    """

    def __init__(self, path: Path, rank: int, ranks: int) -> None:
        self._path, self._rank = path, rank
        self._parts = [temporary_path(path, f"rank-{number}") for number in range(ranks)]

    def __enter__(self) -> Self:
        """Open this rank's file."""
        self._own = open_itself(self._parts[self._rank], "w")
        return self

    def __exit__(self, *_: object) -> None:
        """Close this rank's file; on rank 0, remove all."""
        try:
            self._own.close()
        finally:
            for part in self._parts if self._rank == 0 else ():
                part.unlink(missing_ok=True)

    def add(self, row: Row) -> None:
        """Add the row of this rank's next photo; its last key is ``counts``."""
        self._own.write(json.dumps(row, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """Let rank 0 read the rows added so far."""
        self._own.flush()

    def write(self, quality: Sequence[Sequence[Mapping[str, float | None]]]) -> None:
        """Write ``photos.jsonl``, on rank 0 once every rank has flushed.

        Args:
            quality: the quality scores of the photos of each split, in their order, by key.

        Raises:
            RunFolderError: it can't be written.
        """
        with ExitStack() as files:
            temporary = files.enter_context(atomic_write(self._path))
            parts = [files.enter_context(part.open(encoding="utf-8")) for part in self._parts]
            with temporary.open("w", encoding="utf-8", newline="\n") as lines:
                for scores in quality:
                    for place, own in enumerate(scores):
                        row = json.loads(parts[place % len(parts)].readline())
                        row |= {**own, "counts": row.pop("counts")}
                        lines.write(json.dumps(_without_nan(row), ensure_ascii=False) + "\n")


def _without_nan(row: Row) -> Row:
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in row.items()
    }


def read_photo_rows(path: Path, parse: Callable[[Row], T]) -> Iterator[T]:
    """Yield what ``parse`` makes of each line of a ``photos.jsonl``.

    Args:
        path: the file.
        parse: takes a line as it was read; whatever it raises about the values there, as the
            functions below do, means that the file is damaged.

    Raises:
        RunFolderError: missing or damaged.
    """
    try:
        with open_regular(path) as lines:
            for line in lines:
                yield parse(parse_json(line))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise RunFolderError(
            f"{path.name} is missing or damaged",
            where=path.parent,
            fix="Delete the folder and run `tag2mask evaluate` again.",
        ) from None


def place_of(row: Row) -> Place:
    """Return the photo of a line."""
    return str(row["split"]), checked_id(row["id"])


def quality_of(row: Row, key: str) -> float | None:
    """Return a quality score in a line, `QUALITY` or `NETWORK_QUALITY`; None if unknown."""
    return None if row.get(key) is None else float(row[key])


def photo_qualities(path: Path, *keys: str) -> dict[str, float]:
    """Return the quality scores of all photos that have one, by id.

    Args:
        path: the ``photos.jsonl`` of an evaluation.
        keys: `QUALITY`, `NETWORK_QUALITY`; a later one where a photo lacks those before.

    Raises:
        RunFolderError: ``path`` is missing or damaged.
    """

    def quality(row: Row) -> tuple[str, float | None]:
        scores = (quality_of(row, key) for key in keys)
        return checked_id(row["id"]), next((s for s in scores if s is not None), None)

    return {id: score for id, score in read_photo_rows(path, quality) if score is not None}


def stage_counts(row: Row, classes: int) -> list[StageCounts]:
    """Return the pixels of a line's photo, for ``classes`` foreground classes.

    Empty without a mask to compare with, and in evaluations of an earlier version.
    """
    return [
        StageCounts(str(stage), str(row["group"]), _checked(cells, classes))
        for stage, cells in row.get("counts", {}).items()
    ]


def _checked(cells: object, classes: int) -> Int64:
    """Return counts as an array (n, 3).

    Raises:
        ValueError, TypeError, OverflowError: they are not counts of these classes.
    """
    found = np.array(cells, np.int64).reshape(-1, 3)
    if found.size and (found.min() < 0 or found[:, :2].max() > classes):
        raise ValueError(cells)
    return found
