"""Scores of some photos of a run, from the photos' counts in ``photos.jsonl``: no mask is read.

Runs of different weeks were scored on different photos, and may know different classes. Here they
are scored on the photos and classes that all of them have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tag2mask.evaluation.photo_rows import (
    Place,
    Row,
    StageCounts,
    place_of,
    read_photo_rows,
    stage_counts,
)
from tag2mask.evaluation.resampled import ResampledMiou
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.confusion import Confusion, Float64, Int64

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
    return dict(read_photo_rows(path, lambda row: (place_of(row), tuple(map(str, row["tags"])))))


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

    def photo(row: Row) -> tuple[Place, set[str] | None, list[StageCounts]] | None:
        place = place_of(row)
        if place not in tags:
            return None
        return place, _shown(row, min_area), stage_counts(row, len(classes))

    for place, shown, stages in filter(None, read_photo_rows(path, photo)):
        counts = splits.setdefault(place[0], _Counts(shared))
        counts.add(shown, set(tags[place]), stages, ids)
    return {split: counts.scores(split) for split, counts in splits.items()}


def _shared_ids(classes: Sequence[str], shared: Sequence[str]) -> Int64:
    """Return the mask id among the shared classes by mask id of a run; others: one more."""
    places = {name: index + 1 for index, name in enumerate(shared)}
    return np.array([0, *(places.get(name, len(shared) + 1) for name in classes)], np.int64)


class _Counts:
    """Counts of the photos of a split; the last mask id is that of the classes not shared."""

    def __init__(self, shared: Sequence[str]) -> None:
        self._shared = shared
        self._scores = SharedScores()
        self._stages: dict[str, tuple[Confusion, ResampledTallies]] = {}

    def add(
        self, shown: set[str] | None, tags: set[str], stages: Sequence[StageCounts], ids: Int64
    ) -> None:
        found = self._scores
        found.photos += 1
        if shown is not None:
            for name in self._shared:
                rate = found.missed if name in tags else found.alarms
                rate.photos += 1
                rate.hits += (name in shown) is not (name in tags)
        size = len(self._shared) + 1
        for stage, group, cells in stages:
            own = cells.copy()
            own[:, :2] = ids[own[:, :2]]
            own = own[own[:, 0] < size]
            empty = (Confusion.empty(size), ResampledTallies(size))
            confusion, tallies = self._stages.setdefault(stage, empty)
            np.add.at(confusion.counts, (own[:, 0], own[:, 1]), own[:, 2])
            tallies.add(group, own)

    def scores(self, split: str) -> SharedScores:
        size = len(self._shared) + 1
        for stage, (confusion, tallies) in self._stages.items():
            self._scores.miou[stage] = float(_mean(confusion.iou()[:size, None])[0])
            values = _mean(tallies.iou()[:size])
            self._scores.resampled = {**self._scores.resampled, (split, stage): values}
        return self._scores


def _shown(row: Row, min_area: float) -> set[str] | None:
    """Return the classes that the network's mask shows; None: the line doesn't say."""
    if "areas" not in row:
        return None
    return {name for name, share in row["areas"].items() if share >= min_area}


def _mean(iou: Float64) -> Float64:
    """Return the mean over the classes (C+1, R) that are present, (R,); NaN without any."""
    present = ~np.isnan(iou)
    total: Float64 = np.where(present, iou, 0.0).sum(axis=0) / np.maximum(1, present.sum(axis=0))
    return np.where(present.any(axis=0), total, np.nan)
