"""Scores of some photos of a run, from the photos' counts in ``photos.jsonl``: no mask is read.

Runs of different weeks were scored on different photos, and may know different classes. Here they
are scored on the photos and classes that all of them have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tag2mask.artifacts.items import checked_id
from tag2mask.errors import RunFolderError
from tag2mask.evaluation.resampled import ResampledMiou
from tag2mask.files.regular_file import open_regular
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.confusion import Confusion, Float64, Int64
from tag2mask.text.json_text import parse_json

Place = tuple[str, str]
"""Split and id of a photo."""
MIN_AREA = 0.001
"""Share of a photo from which a class counts as shown, in evaluations that don't say it."""


@dataclass
class Rate:
    """How many of some photos had something."""

    hits: int = 0
    photos: int = 0


@dataclass
class SharedScores:
    """Scores of some photos of one split.

    Attributes:
        photos: number of photos.
        missed: of the photos' tags, those whose class the network's mask doesn't show.
        alarms: of the classes that aren't tags, those that the network's mask shows.
        miou: by stage, of the photos with a mask.
        resampled: mIoU in each resample, by split and stage.
    """

    photos: int = 0
    missed: Rate = field(default_factory=Rate)
    alarms: Rate = field(default_factory=Rate)
    miou: dict[str, float] = field(default_factory=dict)
    resampled: ResampledMiou = field(default_factory=dict)


def photo_tags(path: Path) -> dict[Place, tuple[str, ...]]:
    """Return the tags of every photo of an evaluation.

    Raises:
        RunFolderError: ``photos.jsonl`` is missing or damaged.
    """
    with _readable(path) as rows:
        return {_place(row): tuple(map(str, row["tags"])) for row in rows}


def shared_scores(
    path: Path,
    tags: Mapping[Place, Sequence[str]],
    classes: Sequence[str],
    shared: Sequence[str],
    *,
    min_area: float = MIN_AREA,
) -> dict[str, SharedScores]:
    """Score a run on some photos.

    Pixels whose true class isn't shared don't count; a predicted class that isn't shared is wrong.

    Args:
        path: the ``photos.jsonl`` of its evaluation.
        tags: the photos, with the tags to compare with.
        classes: its foreground classes.
        shared: the classes to score.
        min_area: share of a photo from which a class counts as shown.

    Returns:
        The scores of each split.

    Raises:
        RunFolderError: ``photos.jsonl`` is missing or damaged.
    """
    splits: dict[str, _Counts] = {}
    ids = _shared_ids(classes, shared)
    with _readable(path) as rows:
        for row in rows:
            place = _place(row)
            if place in tags:
                counts = splits.setdefault(place[0], _Counts(len(shared)))
                counts.add(row, ids, set(tags[place]), shared, min_area)
    return {split: counts.scores(split) for split, counts in splits.items()}


def _shared_ids(classes: Sequence[str], shared: Sequence[str]) -> Int64:
    """Return the mask id among the shared classes by mask id of a run; others: one more."""
    places = {name: index + 1 for index, name in enumerate(shared)}
    return np.array([0, *(places.get(name, len(shared) + 1) for name in classes)], np.int64)


class _Counts:
    """Counts of the photos of a split; the last mask id is that of the classes not shared."""

    def __init__(self, shared: int) -> None:
        self._shared = shared
        self._scores = SharedScores()
        self._stages: dict[str, tuple[Confusion, ResampledTallies]] = {}

    def add(
        self, row: Any, ids: Int64, tags: set[str], shared: Sequence[str], min_area: float
    ) -> None:
        found = self._scores
        found.photos += 1
        if "areas" in row:
            shown = {name for name, share in row["areas"].items() if share >= min_area}
            for name in shared:
                rate = found.missed if name in tags else found.alarms
                rate.photos += 1
                rate.hits += (name in shown) is not (name in tags)
        for stage, cells in row.get("counts", {}).items():
            own = np.array(cells, np.int64).reshape(-1, 3)
            own[:, :2] = ids[own[:, :2]]
            own = own[own[:, 0] <= self._shared]
            size = self._shared + 1
            empty = (Confusion.empty(size), ResampledTallies(size))
            confusion, tallies = self._stages.setdefault(stage, empty)
            np.add.at(confusion.counts, (own[:, 0], own[:, 1]), own[:, 2])
            tallies.add(str(row["group"]), own)

    def scores(self, split: str) -> SharedScores:
        for stage, (confusion, tallies) in self._stages.items():
            self._scores.miou[stage] = float(_mean(confusion.iou()[: self._shared + 1, None])[0])
            values = _mean(tallies.iou()[: self._shared + 1])
            self._scores.resampled = {**self._scores.resampled, (split, stage): values}
        return self._scores


def _mean(iou: Float64) -> Float64:
    """Return the mean over the classes (C+1, R) that are present, (R,); NaN without any."""
    present = ~np.isnan(iou)
    total: Float64 = np.where(present, iou, 0.0).sum(axis=0) / np.maximum(1, present.sum(axis=0))
    return np.where(present.any(axis=0), total, np.nan)


def _place(row: Any) -> Place:
    return str(row["split"]), checked_id(row["id"])


@contextmanager
def _readable(path: Path) -> Iterator[Iterator[Any]]:
    """Open ``photos.jsonl``; whatever is wrong with its rows becomes one error."""
    try:
        with open_regular(path) as lines:
            yield map(parse_json, lines)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise RunFolderError(
            f"{path.name} is missing or damaged",
            where=path.parent,
            fix="Delete the folder and run `tag2mask evaluate` again.",
        ) from None
