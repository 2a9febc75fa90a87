"""Masks of maps after a dense CRF, made by the evaluation for comparison.

The dense CRF takes most of the time of an evaluation. So each mask is saved as ``crf/<id>.png``,
and an interrupted step resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tag2mask.artifacts.step_folder import Step
from tag2mask.classes import BACKGROUND, mask_id
from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
from tag2mask.data.index import Sample
from tag2mask.data.masks import crf_mask_path, write_mask
from tag2mask.data.photos import read_photo
from tag2mask.maps.background_threshold import derived_alpha, with_background
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.ranks import Ranks
from tag2mask.runtime.threads import sized_map
from tag2mask.steps.photo_loops.per_photo import PhotoOutputs


@dataclass(frozen=True)
class CrfMasks:
    """Inputs and settings of the CRF masks.

    Attributes:
        photos: photos with maps.
        colors: RGB by mask id (C+1).
        settings: of the dense CRF.
        threshold: background threshold; `derived_alpha` gives the α of the background map.
    """

    photos: MappedPhotos
    colors: tuple[tuple[int, int, int], ...]
    settings: CrfSettings
    threshold: float

    def make(self, step: Step[Any], samples: Sequence[Sample], ranks: Ranks) -> None:
        """Make the missing masks of some photos, each rank its share; delete those of other photos.

        Args:
            step: the folder to write to.
            samples: the photos.
            ranks: the processes that share the photos.

        Raises:
            DataError: a photo or its map is unreadable.
            RunFolderError: a file can't be written.
        """
        outputs = PhotoOutputs(
            step, lambda id: (crf_mask_path(step.path, id),), self._key, "dense CRF"
        )
        outputs.remove_missing({sample.id for sample in samples})
        outputs.write(samples, partial(self._write, step.path), ranks, skip_bad=False)

    def _key(self, sample: Sample) -> str:
        return f"{self.threshold:g} {sample.stamp} {self.photos.stamp(sample.id)}"

    def _write(
        self, folder: Path, samples: Sequence[Sample], bar: ProgressBar
    ) -> Iterator[tuple[Sample, None]]:
        return sized_map(partial(self._write_one, folder), samples, lambda sample: sample.pixels)

    def _write_one(self, folder: Path, sample: Sample, threads: int) -> tuple[Sample, None]:
        cam_map = self.photos.read(sample)
        labels = np.zeros(sample.size, np.uint8)
        if cam_map.tags:
            crf = DenseCrf(np.asarray(read_photo(sample)), self.settings, threads=threads)
            scores = with_background(cam_map.full_scores(), derived_alpha(self.threshold))
            ids = np.array([BACKGROUND, *(mask_id(tag) for tag in cam_map.tags)], np.uint8)
            labels = ids[crf.refine(scores).argmax(axis=0)]
        write_mask(crf_mask_path(folder, sample.id), labels, self.colors)
        return sample, None
