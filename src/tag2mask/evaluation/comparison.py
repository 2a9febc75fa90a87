"""Photos compared with their masks: pseudo masks, the maps they were made of, and earlier stages.

Everything is counted a photo at a time and summed over photos and processes; the scores are read
from the sums by ``ops.evaluation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tag2mask.classes import BACKGROUND, IGNORE, ClassSet
from tag2mask.data.index import Sample
from tag2mask.errors import DataError
from tag2mask.evaluation.records import StageScores, curve_scores, known, point_scores
from tag2mask.maps.cam_map import CamMap
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion, Labels
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.recipe.sections import Evaluate


@dataclass(frozen=True)
class MaskCounts:
    """Counts of masks: of all pixels, and of those along contours."""

    confusion: Confusion
    boundary: BoundaryCounts

    @classmethod
    def empty(cls, classes: int) -> MaskCounts:
        """No counts, of a number of foreground classes."""
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
"""Of maps, counts at every background threshold; of masks, theirs."""


@dataclass(frozen=True)
class Stage:
    """Maps, or masks made of them, on the way from tags to masks.

    Attributes:
        name: what was done so far, such as ``SEAM + walk``.
        tag_source: known or predicted, of the maps.
        threshold: the background threshold in use; None: unknown.
        source: where the threshold comes from.
        content: photos with the maps, or the folder of the masks.
    """

    name: str
    tag_source: str
    threshold: float | None
    source: str
    content: MappedPhotos | Path

    def no_counts(self, classes: int, thresholds: Sequence[float]) -> StageCounts:
        """Zero counts; of maps at the given background thresholds and at the one in use."""
        if isinstance(self.content, Path):
            return MaskCounts.empty(classes)
        used = [] if self.threshold is None else [self.threshold]
        return ThresholdCurve.empty(
            classes, np.unique(np.array([*thresholds, *used], np.float32)).tolist()
        )

    def scores(self, counts: StageCounts, photos: int, section: Evaluate) -> StageScores:
        """Scores of the counts over some photos with masks."""
        published = section.behavior == "published"
        if isinstance(counts, MaskCounts):
            used = point_scores(counts.confusion, self.threshold, self.source, published=published)
            boundary = known(counts.boundary.miou(published=published))
            return StageScores(self.name, photos, self.tag_source, used, None, None, boundary)
        wanted = np.searchsorted(counts.thresholds, np.array(section.thresholds, np.float32))
        curve = counts.select(wanted.tolist())
        record = curve_scores(curve, published=published)
        best = curve.confusion(record.thresholds.index(record.best_threshold))
        at_use = None
        if self.threshold is not None:
            index = int(np.searchsorted(counts.thresholds, np.float32(self.threshold)))
            at_use = point_scores(
                counts.confusion(index), self.threshold, self.source, published=published
            )
        return StageScores(
            self.name,
            photos,
            self.tag_source,
            at_use,
            point_scores(best, record.best_threshold, "best", published=published),
            record,
        )


@dataclass(frozen=True)
class Comparison:
    """What every photo is compared with.

    Attributes:
        photos: photos with the maps that the pseudo masks were made of.
        classes: the classes.
        truths: mask files by photo id.
        masks: folder of the pseudo masks.
        section: settings.
        stages: what is counted beside the pseudo masks; the maps of ``photos`` are among them.
    """

    photos: MappedPhotos
    classes: ClassSet
    truths: dict[str, Path]
    masks: Path
    section: Evaluate
    stages: tuple[Stage, ...]

    def photo(self, split: str, sample: Sample) -> PhotoCounts:
        """Count one photo; one without a mask has a row and probabilities alone.

        Raises:
            DataError: its mask, a map or a pseudo mask is missing, damaged or of other photos.
        """
        cam_map = self.photos.read(sample)
        names = self.classes.names
        row: dict[str, Any] = {
            "id": sample.id,
            "split": split,
            "tags": [names[tag] for tag in sample.tags],
            "map_tags": [names[tag] for tag in cam_map.tags],
            "certainty": cam_map.certainty,
            "miou": None,
            "pixel_accuracy": None,
        }
        found = PhotoCounts(row, cam_map.probabilities)
        if sample.id in self.truths:
            found.truth = self.photos.read_mask(self.truths[sample.id], sample)
            self._count_masks(found, found.truth, sample)
            found.stages = [
                self._stage(stage, found.truth, sample, cam_map) for stage in self.stages
            ]
        return found

    def _count_masks(self, found: PhotoCounts, truth: Labels, sample: Sample) -> None:
        pseudo_path = self.masks / f"{sample.id}.png"
        if not pseudo_path.is_file():
            raise DataError(
                f"photo {sample.id!r} has no pseudo mask",
                where=self.masks,
                fix="Run pseudo-masks again: it makes only what is missing.",
            )
        prediction = self.photos.read_mask(pseudo_path, sample)
        # What a mask leaves open (255) is counted as void; for the contours it has none of its own.
        unsure = prediction == IGNORE
        prediction = np.where(unsure, np.where(truth == IGNORE, BACKGROUND, truth), prediction)
        truth = np.where(unsure, np.uint8(IGNORE), truth)
        found.masks = MaskCounts.empty(len(self.classes))
        found.masks.add(truth, prediction, self.section.boundary_share)
        # Of one photo: over the classes that occur in it, whatever the behavior.
        found.row |= {
            "miou": found.masks.confusion.miou(),
            "pixel_accuracy": found.masks.confusion.pixel_accuracy(),
        }

    def _stage(
        self, stage: Stage, truth: Labels, sample: Sample, cam_map: CamMap
    ) -> MaskCounts | _FullMaps:
        if isinstance(stage.content, Path):
            path = stage.content / f"{sample.id}.png"
            if not path.is_file():
                raise DataError(
                    f"photo {sample.id!r} has no mask of stage {stage.name!r}",
                    where=stage.content,
                    fix="Give masks of all photos of the split; "
                    "if some were lost, run their step again: it makes only those. "
                    "Predictions of one split alone say so by `predict.splits`.",
                )
            counts = MaskCounts.empty(len(self.classes))
            counts.add(truth, self.photos.read_mask(path, sample), self.section.boundary_share)
            return counts
        own = cam_map if stage.content is self.photos else stage.content.read(sample)
        return _FullMaps(own.tags, own.full_scores())

    def nothing(self) -> SplitCounts:
        """The sums over no photo."""
        classes = len(self.classes)
        return SplitCounts(
            MaskCounts.empty(classes),
            [stage.no_counts(classes, self.section.thresholds) for stage in self.stages],
        )


@dataclass(frozen=True)
class _FullMaps:
    """Maps at the photo's size, to be counted."""

    tags: tuple[int, ...]
    scores: npt.NDArray[np.float32]


@dataclass
class PhotoCounts:
    """What one photo says; the maps at full size are dropped once they are counted.

    Attributes:
        row: its line of ``photos.jsonl``.
        probabilities: float32 (C,).
        truth: its mask; None where it has none, and nothing below is there then.
        masks: of its pseudo mask.
        stages: of each stage its maps, or the counts of its mask.
    """

    row: dict[str, Any]
    probabilities: npt.NDArray[np.float32]
    truth: Labels | None = None
    masks: MaskCounts | None = None
    stages: list[MaskCounts | _FullMaps] = field(default_factory=list)


@dataclass
class SplitCounts:
    """Sums over photos, and what is kept of each.

    Attributes:
        masks: of the pseudo masks.
        stages: of each stage.
        rows: of all photos.
        probabilities: likewise, float32 (C,) each.
        masked: number of photos with a mask.
    """

    masks: MaskCounts
    stages: list[StageCounts]
    rows: list[dict[str, Any]] = field(default_factory=list)
    probabilities: list[npt.NDArray[np.float32]] = field(default_factory=list)
    masked: int = 0

    def add(self, found: PhotoCounts) -> None:
        """Add one photo."""
        self.rows.append(found.row)
        self.probabilities.append(found.probabilities)
        if found.truth is None:
            return
        assert found.masks is not None
        self.masked += 1
        self.masks.merge(found.masks)
        for total, own in zip(self.stages, found.stages, strict=True):
            if isinstance(own, _FullMaps):
                assert isinstance(total, ThresholdCurve)
                total.add(found.truth, own.tags, own.scores)
            else:
                assert isinstance(total, MaskCounts)
                total.merge(own)

    def add_shares(self, parts: Sequence[SplitCounts]) -> SplitCounts:
        """Add what several processes counted, each every n-th photo; the rows keep their order."""
        self.rows += _interleaved([part.rows for part in parts])
        self.probabilities += _interleaved([part.probabilities for part in parts])
        for part in parts:
            self.masked += part.masked
            self.masks.merge(part.masks)
            for total, own in zip(self.stages, part.stages, strict=True):
                if isinstance(own, ThresholdCurve):
                    assert isinstance(total, ThresholdCurve)
                    total.merge(own)
                else:
                    assert isinstance(total, MaskCounts)
                    total.merge(own)
        return self


T = TypeVar("T")


def _interleaved(parts: list[list[T]]) -> list[T]:
    """Undo ``Runtime.shard``: parts[r] holds the items r, r + n, ..."""
    merged: list[T] = [item for part in parts for item in part]
    for rank, part in enumerate(parts):
        merged[rank :: len(parts)] = part
    return merged
