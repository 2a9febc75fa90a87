"""Step ``pseudo-masks``: turn maps into palette PNGs by argmax and background thresholds.

Reads the maps of ``infer-cam`` or of ``walk``; a dense CRF may refine them first. Reads masks of
the data only if the background threshold is calibrated with them, and then lists their photos in
``calibration_photos.txt``. Writes ``masks/<id>.png`` and, if asked, ``confidence/<id>.png`` and
``overlays/<id>.jpg``, resumable per photo and sharded over ranks. A mask is computed again only if
its map or the background threshold changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tag2mask.artifacts.handles import (
    CLASS_THRESHOLDS,
    WALKED_MAPS,
    AnyMaps,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.artifacts.items import skipped_lines
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import IGNORE, mask_id
from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
from tag2mask.data.index import Sample, read_classes
from tag2mask.data.masks import confidence_path, mask_path, write_confidence, write_mask
from tag2mask.data.photos import read_photo
from tag2mask.errors import DataError
from tag2mask.files.atomic import write_text
from tag2mask.maps.background_threshold import derived_alpha, labels_from_scores, with_background
from tag2mask.maps.cam_map import CamMap
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.maps.threshold_sources import CALIBRATED_ON, BackgroundThreshold
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.report.overlays import OVERLAYS, overlay_path, write_overlay
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import sized_map
from tag2mask.steps.photo_loops.empty_results import EmptyResults, empty_files, mask_shows_tags
from tag2mask.steps.photo_loops.per_photo import PhotoOutputs, has_all_files, prepared_ids
from tag2mask.steps.threshold_choice import (
    ClassThresholds,
    calibration_inputs,
    check_class_thresholds,
    choose_background_threshold,
    class_thresholds,
    is_calibrated,
)

CALIBRATION_PHOTOS = "calibration_photos.txt"


def pseudo_masks(
    data: PreparedData, maps: AnyMaps, section: PseudoMasks, out: Path, runtime: Runtime
) -> PseudoMaskFolder:
    """Make the pseudo mask of every photo that has maps.

    Args:
        data: photos and classes.
        maps: maps of these photos.
        section: settings.
        out: folder to write; masks whose map and background threshold are unchanged are kept. In a
            complete folder, only missing masks are computed.
        runtime: where to run.

    Raises:
        DataError: maps missing, damaged or of other photos; no photo to calibrate on; maps from
            which no background threshold can be estimated; with the CRF, a photo that can't be read
            (unless ``skip_bad``); the masks of all tagged photos show none of their tags.
        RunFolderError: ``out`` was made with other maps or other settings, or can't be written.
    """
    name = WALKED_MAPS if isinstance(maps, WalkedMaps) else "maps"
    coverage: dict[str, Handle | str] = {"data": data, name: maps}
    if is_calibrated(data, section):
        coverage |= calibration_inputs(data)
    files = partial(_files, out, section)
    with step_folder(
        PseudoMaskFolder,
        out,
        section=section,
        coverage=coverage,
        rank=runtime.rank,
        has_all=has_all_files(files, partial(prepared_ids, data)),
    ) as step:
        if step.complete:
            return step.handle
        classes = read_classes(data.path)
        check_class_thresholds(section, classes.names)
        photos = mapped_photos(data, maps)
        background = choose_background_threshold(data, photos, section, runtime)
        samples = photos.samples
        thresholds = class_thresholds(section, classes.names, background.threshold)
        maker = _PseudoMaskMaker(photos, classes.colors, section, thresholds, step)
        maker.outputs.remove_missing({sample.id for sample in samples})
        if runtime.rank == 0 and not section.overlays:
            shutil.rmtree(step.path / OVERLAYS, ignore_errors=True)  # or they would get stale
        computed, skipped = maker.outputs.write(
            samples, maker.write, runtime, skip_bad=section.skip_bad
        )
        if runtime.rank == 0:
            _write_calibration_photos(step.path, maps, background)
        shows_tags = partial(mask_shows_tags, num_classes=len(classes))
        empty = empty_files(samples, files, shows_tags, runtime)
        handle = step.finish(
            counts={"photos": len(samples) - len(skipped), "computed": computed, **empty.counts},
            metrics={
                **background.metrics(),
                **({CLASS_THRESHOLDS: section.class_thresholds} if thresholds.own else {}),
                "classes": list(classes.names),
                **_empty_metrics(empty, background, out),
            },
            skipped=[*photos.skipped, *skipped_lines(skipped)],
        )
        runtime.barrier()
        return handle


def _write_calibration_photos(folder: Path, maps: AnyMaps, background: BackgroundThreshold) -> None:
    """Write the ids of the photos whose masks chose a threshold, of the walk or of the masks.

    What was learned from these masks can't be scored on these photos: see `evaluate.leave_out`.
    """
    ids = {*background.photos, *maps.manifest.metrics.get(CALIBRATED_ON, ())}
    path = folder / CALIBRATION_PHOTOS
    if ids:
        write_text(path, "".join(f"{photo_id}\n" for photo_id in sorted(ids)))
    else:
        path.unlink(missing_ok=True)


def _empty_metrics(
    empty: EmptyResults, background: BackgroundThreshold, out: Path
) -> dict[str, Any]:
    return empty.checked_metrics(
        out,
        "the pseudo masks of {} show none of their tags",
        f"Set a lower pseudo_masks.background_threshold (now {background.threshold:g}, "
        f"{background.source}; with pseudo_masks.threshold_from=fixed), or train the classifier "
        "longer (train_cam.epochs).",
    )


def _files(out: Path, section: PseudoMasks, photo_id: str) -> list[Path]:
    """Return the paths of a photo's mask and of the other files that the section asks for."""
    files = [mask_path(out, photo_id)]
    if section.confidence:
        files.append(confidence_path(out, photo_id))
    if section.overlays:
        files.append(overlay_path(out, photo_id))
    return files


class _PseudoMaskMaker:
    """Makes masks of photos from their maps and writes them."""

    def __init__(
        self,
        photos: MappedPhotos,
        colors: tuple[tuple[int, int, int], ...],
        section: PseudoMasks,
        thresholds: ClassThresholds,
        step: Step[PseudoMaskFolder],
    ) -> None:
        self.photos = photos
        self.colors = colors
        self.section = section
        self.thresholds = thresholds
        self.outputs = PhotoOutputs(step, partial(_files, step.path, section), self._key)
        self.crf = None
        if section.crf.enabled:
            self.crf = CrfSettings(**section.crf.numbers())

    def write(
        self, samples: Sequence[Sample], bar: ProgressBar
    ) -> Iterator[tuple[Sample, DataError | None]]:
        """Make masks; yield each photo once its mask is written, or why it can't be read."""
        return sized_map(self._write_one, samples, lambda sample: sample.pixels)

    def _key(self, sample: Sample) -> str:
        key = f"{self.thresholds.common:g} {self.photos.stamp(sample.id)}"
        return key if self.crf is None else f"{key} {sample.stamp}"

    def _write_one(self, sample: Sample, threads: int) -> tuple[Sample, DataError | None]:
        cam_map = self.photos.read(sample)
        scores = cam_map.full_scores()
        marginals, photo = None, None
        refined = self.crf is not None and bool(cam_map.tags)
        if refined or self.section.overlays:
            try:
                photo = read_photo(sample)
            except DataError as error:
                return sample, error
        if self.crf is not None and refined:
            crf = DenseCrf(np.asarray(photo), self.crf, threads=threads)
            marginals = crf.refine(with_background(scores, self._alpha(cam_map)))
        labels, confidence = self._labels(cam_map, scores, marginals)
        if self.section.unsure_below is not None:
            labels[confidence < np.float32(self.section.unsure_below)] = IGNORE
        folder = self.outputs.step.path
        write_mask(mask_path(folder, sample.id), labels, self.colors)
        if self.section.confidence:
            write_confidence(confidence_path(folder, sample.id), confidence)
        if photo is not None and self.section.overlays:
            write_overlay(overlay_path(folder, sample.id), photo, labels, self.colors)
        return sample, None

    def _alpha(self, cam_map: CamMap) -> float | list[float]:
        """Return the α of the background map that ties with the photo's thresholds."""
        used = self.thresholds.of(cam_map.tags)
        return [*map(derived_alpha, used)] if isinstance(used, list) else derived_alpha(used)

    def _labels(
        self,
        cam_map: CamMap,
        scores: npt.NDArray[np.float32],
        marginals: npt.NDArray[np.float32] | None,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return labels (h, w) and their confidence, the label's share of the sum of all scores."""
        if marginals is not None:
            ids = np.array([0, *(mask_id(tag) for tag in cam_map.tags)], np.uint8)
            return ids[marginals.argmax(axis=0)], marginals.max(axis=0)
        thresholds = self.thresholds.of(cam_map.tags)
        labels = labels_from_scores(scores, cam_map.tags, thresholds, cam_map.size)
        if not self.section.confidence and self.section.unsure_below is None:
            return labels, np.ones((1, 1), np.float32)
        all_scores = with_background(scores, self._alpha(cam_map))
        total = all_scores.sum(axis=0)
        share = np.divide(all_scores.max(axis=0), total, out=np.ones_like(total), where=total > 0)
        return labels, share
