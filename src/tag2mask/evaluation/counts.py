"""Pixel counts of photos compared with their masks, summed over photos and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tag2mask.evaluation.records import EVIDENCE
from tag2mask.evaluation.resampled import PSEUDO_MASKS
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion, Int64, Labels
from tag2mask.metrics.quality import quality_scores
from tag2mask.metrics.threshold_curve import ThresholdCurve


@dataclass(frozen=True)
class MaskCounts:
    """Counts of masks: all pixels, and the pixels along contours."""

    confusion: Confusion
    boundary: BoundaryCounts

    @classmethod
    def empty(cls, classes: int) -> MaskCounts:
        """Return zero counts for ``classes`` foreground classes."""
        return cls(Confusion.empty(classes), BoundaryCounts.empty(classes))

    def add(self, truth: Labels, prediction: Labels, boundary_share: float) -> None:
        """Count one photo (see `BoundaryCounts.add`)."""
        self.confusion.add(truth, prediction)
        self.boundary.add(truth, prediction, boundary_share)

    def merge(self, other: MaskCounts) -> None:
        """Add the counts of other photos or of another process."""
        self.confusion.merge(other.confusion)
        self.boundary.merge(other.boundary)


StageCounts = ThresholdCurve | MaskCounts
"""Counts of maps at every background threshold, or of masks."""


@dataclass(frozen=True)
class FullMaps:
    """Maps of one photo at its size, not counted yet.

    Attributes:
        tags: k tag ids.
        scores: float32 (k, H, W) in [0, 1].
        threshold: background threshold in use; None if unknown.
    """

    tags: tuple[int, ...]
    scores: npt.NDArray[np.float32]
    threshold: float | None


@dataclass
class PhotoCounts:
    """Counts of one photo; its maps are counted in `SplitCounts.add`, to save memory.

    Attributes:
        row: its line of ``photos.jsonl``.
        probabilities: of the tags, float32 (C,).
        truth: its mask, uint8 (H, W); None for a photo without one, which has no counts.
        masks: counts of its pseudo mask.
        stages: by name of the stage, the photo's maps or the counts of its mask.
    """

    row: dict[str, Any]
    probabilities: npt.NDArray[np.float32]
    truth: Labels | None = None
    masks: MaskCounts | None = None
    stages: dict[str, MaskCounts | FullMaps] = field(default_factory=dict)


@dataclass
class SplitCounts:
    """Counts summed over the photos of a split, and the values kept for each photo.

    Attributes:
        masks: counts of the pseudo masks.
        stages: counts of each stage, by its name.
        rows: `PhotoCounts.row` of each photo.
        probabilities: `PhotoCounts.probabilities` of each photo.
        cells: for each photo, its nonzero counts at the threshold in use (see `Confusion.cells`),
            by name of the stage and `PSEUDO_MASKS`; empty without a mask.
        masked: number of photos with a mask.
    """

    masks: MaskCounts
    stages: dict[str, StageCounts]
    rows: list[dict[str, Any]] = field(default_factory=list)
    probabilities: list[npt.NDArray[np.float32]] = field(default_factory=list)
    cells: list[dict[str, Int64]] = field(default_factory=list)
    masked: int = 0

    def add(self, found: PhotoCounts) -> None:
        """Add the counts of one photo."""
        self.rows.append(found.row)
        self.probabilities.append(found.probabilities)
        cells: dict[str, Int64] = {}
        self.cells.append(cells)
        if found.truth is None:
            return
        assert found.masks is not None
        self.masked += 1
        self.masks.merge(found.masks)
        cells[PSEUDO_MASKS] = found.masks.confusion.cells()
        for name, own in found.stages.items():
            total = self.stages[name]
            if isinstance(own, FullMaps):
                assert isinstance(total, ThresholdCurve)
                counts = total.count(found.truth, own.tags, own.scores)
                total.add_photo(counts)
                if own.threshold is not None:
                    cells[name] = counts.cells(total.index(own.threshold))
            else:
                assert isinstance(total, MaskCounts)
                total.merge(own)
                cells[name] = own.confusion.cells()

    def add_quality(self) -> None:
        """Add each photo's quality score to its row: its evidence among all photos of the split."""
        scores = quality_scores([row["evidence"] for row in self.rows])
        for row, score in zip(self.rows, scores, strict=True):
            row["quality"] = score

    def mean_evidence(self) -> dict[str, float]:
        """Return the mean of each kind of evidence over the photos that have it."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            for kind, value in row["evidence"].items():
                found.setdefault(kind, []).append(value)
        return {kind: float(np.mean(found[kind])) for kind in EVIDENCE if kind in found}

    def rows_with_cells(self) -> list[dict[str, Any]]:
        """Return the rows with the counts that `resampled` resamples."""
        return [
            {**row, "counts": {name: own.tolist() for name, own in cells.items()}}
            for row, cells in zip(self.rows, self.cells, strict=True)
        ]

    def resampled(self, name: str, groups: Sequence[str]) -> ResampledTallies:
        """Return the resampled counts of a stage or of `PSEUDO_MASKS`; ``groups`` by photo."""
        tallies = ResampledTallies(len(self.masks.confusion.counts) - 1)
        for group, cells in zip(groups, self.cells, strict=True):
            if name in cells:
                tallies.add(group, cells[name])
        return tallies

    def merge_ranks(self, parts: Sequence[SplitCounts]) -> SplitCounts:
        """Add the counts of all n ranks, each of every n-th photo; keep the order of the photos."""
        self.rows += _interleaved([part.rows for part in parts])
        self.probabilities += _interleaved([part.probabilities for part in parts])
        self.cells += _interleaved([part.cells for part in parts])
        for part in parts:
            self.masked += part.masked
            self.masks.merge(part.masks)
            for name, own in part.stages.items():
                total = self.stages[name]
                if isinstance(own, ThresholdCurve):
                    assert isinstance(total, ThresholdCurve)
                    total.merge(own)
                else:
                    assert isinstance(total, MaskCounts)
                    total.merge(own)
        return self


T = TypeVar("T")


def _interleaved(parts: list[list[T]]) -> list[T]:
    """Undo `Runtime.shard`: ``parts[r]`` contains the items r, r + n, ..."""
    merged: list[T] = [item for part in parts for item in part]
    for rank, part in enumerate(parts):
        merged[rank :: len(parts)] = part
    return merged
