"""Pixel counts of photos compared with their masks, summed over photos and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.evaluation.photo_rows import Row
from tag2mask.evaluation.records import EVIDENCE
from tag2mask.evaluation.resampled import PSEUDO_MASKS
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion, Int64, Labels
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
        """Count one photo (see `BoundaryCounts.add`).

        Pixels that the prediction ignores (255) are void, and add no contour of their own.
        """
        ignored = prediction == IGNORE
        if ignored.any():
            prediction = np.where(ignored, np.where(truth == IGNORE, BACKGROUND, truth), prediction)
            truth = np.where(ignored, np.uint8(IGNORE), truth)
        self.confusion.add(truth, prediction)
        self.boundary.add(truth, prediction, boundary_share)

    def merge(self, other: MaskCounts) -> None:
        """Add the counts of other photos or of another process."""
        self.confusion.merge(other.confusion)
        self.boundary.merge(other.boundary)


@dataclass(frozen=True)
class ResampledMasks:
    """Counts of masks: all pixels, and these in each resample."""

    confusion: Confusion
    tallies: ResampledTallies

    @classmethod
    def empty(cls, classes: int) -> ResampledMasks:
        """Return zero counts for ``classes`` foreground classes."""
        return cls(Confusion.empty(classes), ResampledTallies(classes))

    def add(self, group: str, cells: Int64) -> None:
        """Count one photo (see `ResampledTallies.add`)."""
        np.add.at(self.confusion.counts, (cells[:, 0], cells[:, 1]), cells[:, 2])
        self.tallies.add(group, cells)

    def merge(self, other: ResampledMasks) -> None:
        """Add the counts of other photos or of another process."""
        self.confusion.merge(other.confusion)
        self.tallies.merge(other.tallies)


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
        row: its line of ``photos.jsonl``, but for the quality scores and ``counts``.
        probabilities: of the tags, float32 (C,); None without maps.
        truth: its mask, uint8 (H, W); None for a photo without one, which has no counts.
        masks: counts of its pseudo mask; None without one.
        stages: by name of the stage, the photo's maps or the counts of its mask.
        calibrated: whether it is one of the photos that calibrated the background threshold.
    """

    row: Row
    probabilities: npt.NDArray[np.float32] | None
    truth: Labels | None = None
    masks: MaskCounts | None = None
    stages: dict[str, MaskCounts | FullMaps] = field(default_factory=dict)
    calibrated: bool = False


@dataclass
class SplitCounts:
    """Counts summed over the photos of a split, and the few values kept for each photo.

    Attributes:
        masks: counts of the pseudo masks.
        stages: counts of each stage, by its name.
        resampled: counts at the threshold in use, by name of the stage and `PSEUDO_MASKS`.
        others: counts of the pseudo masks of the photos that didn't calibrate the threshold.
        probabilities: `PhotoCounts.probabilities` of each photo; empty without maps.
        evidence: of each photo, by kind; see `tag2mask.evaluation.evidence`.
        areas: of each photo, the classes in the network's mask; None where it wasn't predicted.
        masked: number of photos with a mask.
        made: number of these that also have a pseudo mask.
    """

    masks: MaskCounts
    stages: dict[str, StageCounts]
    resampled: dict[str, ResampledTallies]
    others: ResampledMasks
    probabilities: list[npt.NDArray[np.float32]] = field(default_factory=list)
    evidence: list[dict[str, float]] = field(default_factory=list)
    areas: list[dict[str, float] | None] = field(default_factory=list)
    masked: int = 0
    made: int = 0

    @classmethod
    def empty(cls, classes: int, stages: dict[str, StageCounts]) -> SplitCounts:
        """Return zero counts for ``classes`` foreground classes; ``stages``: theirs, by name."""
        return cls(
            MaskCounts.empty(classes),
            stages,
            {name: ResampledTallies(classes) for name in (PSEUDO_MASKS, *stages)},
            ResampledMasks.empty(classes),
        )

    def add(self, found: PhotoCounts) -> Row:
        """Add the counts of one photo.

        Returns:
            Its row with ``counts``: its nonzero counts at the threshold in use (see
            `Confusion.cells`), by name of the stage and `PSEUDO_MASKS`; empty without a mask.
        """
        if found.probabilities is not None:
            self.probabilities.append(found.probabilities)
        self.evidence.append(found.row["evidence"])
        self.areas.append(found.row.get("areas"))
        cells: dict[str, Int64] = {}
        if found.truth is not None:
            self.masked += 1
            cells = self._add_masks(found, found.truth)
        group = found.row["group"]
        for name, own in cells.items():
            self.resampled[name].add(group, own)
        if PSEUDO_MASKS in cells and not found.calibrated:
            self.others.add(group, cells[PSEUDO_MASKS])
        return found.row | {"counts": {name: own.tolist() for name, own in cells.items()}}

    def _add_masks(self, found: PhotoCounts, truth: Labels) -> dict[str, Int64]:
        """Add the counts of a photo with a mask; return its nonzero counts."""
        cells: dict[str, Int64] = {}
        if found.masks is not None:
            self.made += 1
            self.masks.merge(found.masks)
            cells[PSEUDO_MASKS] = found.masks.confusion.cells()
        for name, own in found.stages.items():
            total = self.stages[name]
            if isinstance(own, FullMaps):
                assert isinstance(total, ThresholdCurve)
                counts = total.count(truth, own.tags, own.scores)
                total.add_photo(counts)
                if own.threshold is not None:
                    cells[name] = counts.cells(total.index(own.threshold))
            else:
                assert isinstance(total, MaskCounts)
                total.merge(own)
                cells[name] = own.confusion.cells()
        return cells

    def mean_evidence(self) -> dict[str, float]:
        """Return the mean of each kind of evidence over the photos that have it."""
        found: dict[str, list[float]] = {}
        for own in self.evidence:
            for kind, value in own.items():
                found.setdefault(kind, []).append(value)
        return {kind: float(np.mean(found[kind])) for kind in EVIDENCE if kind in found}

    def merge_ranks(self, parts: Sequence[SplitCounts]) -> SplitCounts:
        """Add the counts of all n ranks, each of every n-th photo; keep the order of the photos."""
        self.probabilities += _interleaved([part.probabilities for part in parts])
        self.evidence += _interleaved([part.evidence for part in parts])
        self.areas += _interleaved([part.areas for part in parts])
        for part in parts:
            self._merge(part)
        return self

    def _merge(self, part: SplitCounts) -> None:
        """Add the sums of other photos."""
        self.masked += part.masked
        self.made += part.made
        self.masks.merge(part.masks)
        self.others.merge(part.others)
        for name, tallies in part.resampled.items():
            self.resampled[name].merge(tallies)
        for name, own in part.stages.items():
            total = self.stages[name]
            if isinstance(own, ThresholdCurve):
                assert isinstance(total, ThresholdCurve)
                total.merge(own)
            else:
                assert isinstance(total, MaskCounts)
                total.merge(own)


T = TypeVar("T")


def _interleaved(parts: list[list[T]]) -> list[T]:
    """Undo `Runtime.shard`: ``parts[r]`` contains the items r, r + n, ..."""
    merged: list[T] = [item for part in parts for item in part]
    for rank, part in enumerate(parts):
        merged[rank :: len(parts)] = part
    return merged
