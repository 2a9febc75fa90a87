"""Step ``pseudo-masks``: maps to palette PNGs, by argmax with one background threshold.

Takes the maps of ``infer-cam`` or of ``walk``; a dense CRF may sharpen them first. Reads masks only
where the background threshold is to be calibrated with some. Writes ``masks/<id>.png`` and, if
asked, ``confidence/<id>.png``, resumable per photo and sharded over ranks. A photo's mask is made
anew only when its map or the background threshold changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tag2mask.artifacts.handles import (
    WALKED_MAPS,
    AnyMaps,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import IGNORE, mask_id
from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
from tag2mask.data.index import Sample, masks_fingerprint, read_classes
from tag2mask.data.masks import write_confidence, write_mask
from tag2mask.data.photos import read_photo
from tag2mask.errors import DataError
from tag2mask.maps.background import labels_from_scores, with_background
from tag2mask.maps.background_choice import choose_background_threshold, derived_alpha
from tag2mask.maps.cam_map import CamMap
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.recipe.sections import PseudoMasks
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import sized_map


def pseudo_masks(
    data: PreparedData, maps: AnyMaps, section: PseudoMasks, out: Path, runtime: Runtime
) -> PseudoMaskFolder:
    """Make the pseudo mask of every photo that has maps.

    Args:
        data: photos and classes.
        maps: maps of these photos.
        section: settings.
        out: folder to write; masks whose map and background threshold are unchanged are kept, even
            in a complete folder only those are made whose file is lost.
        runtime: where to run.

    Raises:
        DataError: maps missing, damaged or of other photos; no photo to calibrate on; maps from
            which no background threshold can be estimated; with the CRF, a photo that can't be read
            (unless ``skip_bad``).
        RunFolderError: ``out`` was made with other maps or other settings, or can't be written.
    """
    name = WALKED_MAPS if isinstance(maps, WalkedMaps) else "maps"
    coverage: dict[str, Handle | str] = {"data": data, name: maps}
    if section.threshold_from == "calibrated":
        coverage["ground truth"] = masks_fingerprint(data.path)
    with step_folder(
        PseudoMaskFolder, out, section=section, coverage=coverage, rank=runtime.rank
    ) as step:
        files = _Files(step, confidence=section.confidence)
        if step.complete and all(files.there(item) for item in step.journal.ids()):
            return step.handle
        classes = read_classes(data.path)
        photos = mapped_photos(data, maps)
        background = choose_background_threshold(data, photos, section, runtime)
        samples = list({s.id: s for split in photos.splits.values() for s in split}.values())
        files.drop_missing({sample.id for sample in samples})
        runtime.barrier()
        job = _Job(photos, classes.colors, section, background.threshold, files)
        shares = runtime.gather_results(lambda: job.make(runtime.shard(samples), runtime))
        skipped = sorted(line for _, part in shares for line in part)
        counts = {
            "photos": len(samples) - len(skipped),
            "computed": sum(done for done, _ in shares),
        }
        handle = step.finish(
            counts=counts,
            metrics={**background.metrics(), "classes": list(classes.names)},
            skipped=[*photos.skipped, *skipped],
        )
        runtime.barrier()
        return handle


class _Files:
    """A photo's files in the step's folder."""

    def __init__(self, step: Step[PseudoMaskFolder], *, confidence: bool) -> None:
        self.step = step
        self.with_confidence = confidence

    def mask(self, photo_id: str) -> Path:
        return self.step.path / "masks" / f"{photo_id}.png"

    def confidence(self, photo_id: str) -> Path:
        return self.step.path / "confidence" / f"{photo_id}.png"

    def there(self, photo_id: str) -> bool:
        return self.mask(photo_id).is_file() and (
            not self.with_confidence or self.confidence(photo_id).is_file()
        )

    def drop(self, photo_id: str) -> None:
        """Forget a photo and delete its files."""
        self.step.journal.drop(photo_id)
        self.mask(photo_id).unlink(missing_ok=True)
        self.confidence(photo_id).unlink(missing_ok=True)

    def drop_missing(self, ids: set[str]) -> None:
        """Delete what belongs to photos that the data no longer holds."""
        for gone in set(self.step.journal.ids()) - ids:
            self.confidence(gone).unlink(missing_ok=True)
        self.step.journal.drop_missing(ids, self.mask)


class _Job:
    """What every mask is made with."""

    def __init__(
        self,
        photos: MappedPhotos,
        colors: tuple[tuple[int, int, int], ...],
        section: PseudoMasks,
        threshold: float,
        files: _Files,
    ) -> None:
        self.photos = photos
        self.colors = colors
        self.section = section
        self.threshold = threshold
        self.files = files
        self.crf = None
        if section.crf.enabled:
            self.crf = CrfSettings(**section.crf.model_dump(exclude={"enabled"}))

    def make(self, samples: list[Sample], runtime: Runtime) -> tuple[int, list[str]]:
        """Write the masks that are not there yet; returns how many, and photos left out."""
        files, journal = self.files, self.files.step.journal
        due = [
            sample
            for sample in samples
            if journal.key(sample.id) != self._key(sample) or not files.there(sample.id)
        ]
        skipped = []
        with runtime.progress(len(due), "pseudo-masks") as bar:
            for sample, made_from, failure in sized_map(
                self._one, due, lambda s: s.size[0] * s.size[1]
            ):
                if failure is None:
                    journal.record(sample.id, made_from)
                else:
                    files.drop(sample.id)
                    skipped.append(f"{sample.id}: {failure.what}")
                bar.advance()
        return len(due) - len(skipped), skipped

    def _key(self, sample: Sample) -> str:
        key = f"{self.threshold:g} {self.photos.stamp(sample.id)}"
        return key if self.crf is None else f"{key} {sample.stamp}"

    def _one(self, sample: Sample, threads: int) -> tuple[Sample, str, DataError | None]:
        """Write one photo's mask; returns what it was made from, or why it was not."""
        made_from = self._key(sample)
        cam_map = self.photos.read(sample)
        scores = cam_map.full_scores()
        marginals = None
        if self.crf is not None and cam_map.tags:
            try:
                photo = read_photo(sample)
            except DataError as error:
                if not self.section.skip_bad:
                    raise
                return sample, made_from, error
            crf = DenseCrf(np.asarray(photo), self.crf, threads=threads)
            marginals = crf.refine(with_background(scores, derived_alpha(self.threshold)))
        labels, confidence = self._labels(cam_map, scores, marginals)
        if self.section.unsure_below is not None:
            labels[confidence < np.float32(self.section.unsure_below)] = IGNORE
        write_mask(self.files.mask(sample.id), labels, self.colors)
        if self.section.confidence:
            write_confidence(self.files.confidence(sample.id), confidence)
        return sample, made_from, None

    def _labels(
        self,
        cam_map: CamMap,
        scores: npt.NDArray[np.float32],
        marginals: npt.NDArray[np.float32] | None,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Labels and their confidence: the label's share of background and tags together."""
        if marginals is not None:
            ids = np.array([0, *(mask_id(tag) for tag in cam_map.tags)], np.uint8)
            return ids[marginals.argmax(axis=0)], marginals.max(axis=0)
        labels = labels_from_scores(scores, cam_map.tags, self.threshold, cam_map.size)
        if not self.section.confidence and self.section.unsure_below is None:
            return labels, np.ones((1, 1), np.float32)
        rivals = with_background(scores, derived_alpha(self.threshold))
        total = rivals.sum(axis=0)
        share = np.divide(rivals.max(axis=0), total, out=np.ones_like(total), where=total > 0)
        return labels, share
