"""Write ``photos.jsonl`` while the photos are counted, so that no line stays in memory.

A photo's quality scores are its ranks among all photos of its split. So each process first writes
the rows of its photos to a temporary file, and the scores are added at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np

from tag2mask.files.atomic import atomic_write, temporary_path
from tag2mask.files.links import open_itself

Row = dict[str, Any]


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
