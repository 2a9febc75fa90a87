"""A prepared index as it was read back, and what has changed in the data since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tag2mask.data.index import (
    MaskRow,
    Sample,
    data_root,
    read_classes,
    read_index,
    read_mask_rows,
)
from tag2mask.data.splits import SPLITS, Split
from tag2mask.errors import DataError, RunFolderError

Samples = dict[Split, list[Sample]]
"""The photos of each split."""

_OTHER_TIME = (
    "with another modification time and the same size in bytes (copies made with `cp -p` or "
    "`rsync -a` keep the time)"
)
"""Of photos that may be unchanged copies. Only a checksum could tell, and would read every file."""


@dataclass(frozen=True)
class PreparedIndex:
    """The index in a ``prepare/`` folder.

    Attributes:
        root: the data folder, absolute.
        class_names: foreground classes in the order of their tag ids.
        samples: the photos of each split.
        masks: one row per photo with a mask.
    """

    root: Path
    class_names: tuple[str, ...]
    samples: Samples
    masks: tuple[MaskRow, ...]

    @property
    def splits(self) -> dict[str, Split]:
        """Return the split of each photo, by id."""
        return {s.id: split for split in SPLITS for s in self.samples[split]}


def read_prepared_index(folder: Path) -> PreparedIndex | None:
    """Read the index of a ``prepare/`` folder, complete or not; None where it can't be read."""
    if not folder.is_dir() or not (folder / "source.json").is_file():
        return None
    try:
        return PreparedIndex(
            data_root(folder),
            read_classes(folder).names,
            {split: read_index(folder, split) for split in SPLITS},
            tuple(read_mask_rows(folder)),
        )
    except (RunFolderError, DataError):
        return None  # truncated or damaged: it will be written again


def index_changes(
    before: PreparedIndex, samples: Samples, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Return what differs between an index and the photos, tags and classes now, in numbers."""
    changes = class_changes(before.class_names, class_names)
    old = {s.id: (split, s) for split in SPLITS for s in before.samples[split]}
    new = {s.id: (split, s) for split in SPLITS for s in samples[split]}
    both = [(old[id], new[id]) for id in new if id in old]

    def tag_names(names: Sequence[str], sample: Sample) -> set[str]:
        return {names[tag] for tag in sample.tags}

    counts = {
        "added": sum(id not in old for id in new),
        "removed": sum(id not in new for id in old),
        "replaced": sum(_bytes_of(a) != _bytes_of(b) for (_, a), (_, b) in both),
        _OTHER_TIME: sum(
            a.stamp != b.stamp and _bytes_of(a) == _bytes_of(b) for (_, a), (_, b) in both
        ),
        "with other tags": sum(
            tag_names(before.class_names, a) != tag_names(class_names, b) for (_, a), (_, b) in both
        ),
        "in another split": sum(s != t for (s, _), (t, _) in both),
    }
    changes += [f"{n} photo{'s' if n > 1 else ''} {what}" for what, n in counts.items() if n]
    if not changes and _order(before.samples) != _order(samples):
        changes.append("the photos' order")
    return tuple(changes)


def class_changes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """Return how the classes changed, as a text, or nothing."""
    if tuple(before) == tuple(now):
        return []
    added = [name for name in now if name not in before]
    removed = [name for name in before if name not in now]
    named = [f"new {', '.join(added)}"] if added else []
    named += [f"gone {', '.join(removed)}"] if removed else []
    return [f"other classes ({'; '.join(named) or 'in another order'})"]


def _bytes_of(sample: Sample) -> str:
    return sample.stamp.partition("-")[0]


def _order(samples: Samples) -> list[list[str]]:
    return [[sample.id for sample in samples[split]] for split in SPLITS]
