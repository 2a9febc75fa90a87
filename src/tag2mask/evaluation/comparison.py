"""Compare photos with their masks: the pseudo masks, their maps, and other stages.

Each photo is counted by itself; `tag2mask.evaluation.counts` sums the counts over photos and
processes, and `tag2mask.evaluation.scores` computes the scores from the sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tag2mask.artifacts.items import item_path
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, group_of
from tag2mask.errors import DataError
from tag2mask.evaluation.counts import FullMaps, MaskCounts, PhotoCounts, SplitCounts, StageCounts
from tag2mask.evaluation.evidence import map_evidence, network_evidence, walk_evidence
from tag2mask.evaluation.photo_rates import class_areas
from tag2mask.evaluation.photo_rows import Row
from tag2mask.evaluation.records import NO_TAGS, StageScores
from tag2mask.evaluation.scores import curve_scores, none_if_nan, point_scores
from tag2mask.maps.cam_map import CamMap
from tag2mask.maps.mapped_photos import MappedPhotos, PreparedPhotos
from tag2mask.metrics.bootstrap import ResampledTallies, percentile_interval
from tag2mask.metrics.confusion import Labels
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.recipe.sections import Evaluate


@dataclass(frozen=True)
class Stage:
    """One stage of the method to evaluate: maps, or masks made from them.

    Attributes:
        name: maps and refinement, such as ``SEAM + walk``.
        tag_source: of the maps: known or predicted.
        threshold: background threshold in use; None if unknown.
        source: of the threshold, such as ``estimated``.
        content: photos with the maps, or the folder of the masks.
    """

    name: str
    tag_source: str
    threshold: float | None
    source: str
    content: MappedPhotos | Path

    def empty_counts(self, classes: int, thresholds: Sequence[float]) -> StageCounts:
        """Return zero counts; for maps, at ``thresholds`` and at the threshold in use."""
        if isinstance(self.content, Path):
            return MaskCounts.empty(classes)
        used = [] if self.threshold is None else [self.threshold]
        return ThresholdCurve.empty(
            classes, np.unique(np.array([*thresholds, *used], np.float32)).tolist()
        )

    def scores(
        self, counts: StageCounts, photos: int, section: Evaluate, resampled: ResampledTallies
    ) -> StageScores:
        """Return the scores of the counts.

        Args:
            counts: the counts of the stage.
            photos: number of photos with masks.
            section: settings.
            resampled: the same counts at the threshold in use, for the intervals.
        """
        published = section.behavior == "published"
        interval = percentile_interval(resampled.miou(published=published))
        if isinstance(counts, MaskCounts):
            used = point_scores(
                counts.confusion, self.threshold, self.source, interval, published=published
            )
            boundary = none_if_nan(counts.boundary.miou(published=published))
            return StageScores(self.name, photos, self.tag_source, used, None, None, boundary)
        wanted = np.searchsorted(counts.thresholds, np.array(section.thresholds, np.float32))
        curve = counts.select(wanted.tolist())
        record = curve_scores(curve, published=published)
        best = curve.confusion(record.thresholds.index(record.best_threshold))
        at_use = None
        if self.threshold is not None:
            at_use = point_scores(
                counts.confusion(counts.index(self.threshold)),
                self.threshold,
                self.source,
                interval,
                published=published,
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
    """The inputs of an evaluation.

    Attributes:
        photos: photos with the maps that the pseudo masks were made from; without maps, the photos
            alone, of which some may have no pseudo mask.
        classes: the classes.
        truths: mask files by photo id.
        masks: folder of the pseudo masks.
        section: settings.
        stages: stages to evaluate besides the pseudo masks; one has the maps of ``photos``, if it
            has any.
        calibrated: ids of the photos that calibrated the background threshold.
    """

    photos: PreparedPhotos
    classes: ClassSet
    truths: dict[str, Path]
    masks: Path
    section: Evaluate
    stages: tuple[Stage, ...]
    calibrated: frozenset[str] = frozenset()

    @property
    def network_stage(self) -> Stage | None:
        """The stage of the segmentation network's masks, if there is one."""
        return next((stage for stage in self.stages if stage.tag_source == NO_TAGS), None)

    def photo(self, split: str, sample: Sample) -> PhotoCounts:
        """Count one photo; without a mask, only its row and probabilities are set.

        Raises:
            DataError: its mask, map or pseudo mask is missing, damaged or of another size.
        """
        maps = self._maps(sample)
        own_stage, names = self._own_stage, self.classes.names
        cam_map = None if own_stage is None else maps[own_stage.name]
        tags = sample.tags if cam_map is None else cam_map.tags
        row: Row = {
            "id": sample.id,
            "split": split,
            "group": group_of(sample),
            "tags": [names[tag] for tag in sample.tags],
            "map_tags": [names[tag] for tag in tags],
            "miou": None,
            "pixel_accuracy": None,
            "network_miou": None,
        }
        probabilities = None if cam_map is None else cam_map.probabilities
        found = PhotoCounts(row, probabilities, calibrated=sample.id in self.calibrated)
        pseudo = self._pseudo_mask(sample)
        if sample.id in self.truths:
            found.truth = self.photos.read_mask(self.truths[sample.id], sample)
            if pseudo is not None:
                self._count_masks(found, found.truth, pseudo)
            found.stages = {
                stage.name: self._stage(stage, found.truth, sample, maps) for stage in self.stages
            }
        if found.truth is not None and self.network_stage is not None:
            own = found.stages[self.network_stage.name]
            assert isinstance(own, MaskCounts)
            row["network_miou"] = own.confusion.miou()
        row["evidence"] = self._evidence(maps, pseudo)
        network = self._network_mask(sample)
        if network is not None:
            if pseudo is not None:
                row["evidence"] |= network_evidence(pseudo, network, tags, len(names))
            row["areas"] = class_areas(network, self.classes)
        if pseudo is not None:
            row["pseudo_areas"] = class_areas(pseudo, self.classes)
        return found

    @property
    def _own_stage(self) -> Stage | None:
        """The stage of the maps that the pseudo masks were made from; None without maps."""
        return next((stage for stage in self.stages if stage.content is self.photos), None)

    def _maps(self, sample: Sample) -> dict[str, CamMap]:
        """Read the maps of a photo, by name of the stage."""
        return {
            stage.name: stage.content.read(sample)
            for stage in self.stages
            if isinstance(stage.content, MappedPhotos)
        }

    def _evidence(self, maps: Mapping[str, CamMap], pseudo: Labels | None) -> dict[str, float]:
        """Return the evidence of the maps; see `tag2mask.evaluation.evidence`."""
        own = self._own_stage
        if own is None or pseudo is None:
            return {}
        found = map_evidence(maps[own.name], own.threshold)
        for stage in self.stages:
            if stage.name in maps and stage is not own and stage.threshold is not None:
                found |= walk_evidence(maps[stage.name], stage.threshold, pseudo)
        return found

    def _pseudo_mask(self, sample: Sample) -> Labels | None:
        """Return the pseudo mask; None where there is none and no maps to make it from."""
        path = item_path(self.masks, sample.id, ".png")
        if not path.is_file():
            if self._own_stage is None:
                return None
            raise DataError(
                f"photo {sample.id!r} has no pseudo mask",
                where=self.masks,
                fix="Run pseudo-masks again: it makes the missing masks only.",
            )
        return self.photos.read_mask(path, sample)

    def _network_mask(self, sample: Sample) -> Labels | None:
        """Return the network's mask; None where it wasn't predicted."""
        if self.network_stage is None:
            return None
        assert isinstance(self.network_stage.content, Path)
        path = item_path(self.network_stage.content, sample.id, ".png")
        return self.photos.read_mask(path, sample) if path.is_file() else None

    def _count_masks(self, found: PhotoCounts, truth: Labels, prediction: Labels) -> None:
        found.masks = MaskCounts.empty(len(self.classes))
        found.masks.add(truth, prediction, self.section.boundary_share)
        # For a single photo, over the classes present in it, with either behavior.
        found.row |= {
            "miou": found.masks.confusion.miou(),
            "pixel_accuracy": found.masks.confusion.pixel_accuracy(),
        }

    def _stage(
        self, stage: Stage, truth: Labels, sample: Sample, maps: Mapping[str, CamMap]
    ) -> MaskCounts | FullMaps:
        if isinstance(stage.content, Path):
            path = item_path(stage.content, sample.id, ".png")
            if not path.is_file():
                raise DataError(
                    f"photo {sample.id!r} has no mask of stage {stage.name!r}",
                    where=stage.content,
                    fix="Give masks of all photos of the split; "
                    "if some were lost, run their step again: it makes the missing ones only. "
                    "For predictions of one split only, set `predict.splits`.",
                )
            counts = MaskCounts.empty(len(self.classes))
            counts.add(truth, self.photos.read_mask(path, sample), self.section.boundary_share)
            return counts
        own = maps[stage.name]
        return FullMaps(own.tags, own.full_scores(), stage.threshold)

    def empty_counts(self) -> SplitCounts:
        """Return zero counts of a split."""
        classes = len(self.classes)
        return SplitCounts.empty(
            classes,
            {s.name: s.empty_counts(classes, self.section.thresholds) for s in self.stages},
        )
