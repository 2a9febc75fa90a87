"""Step ``affinity-labels``: label the pixels on which two dense CRFs agree, for AffinityNet.

The maps of each training photo are refined twice, with a strong and with a weak background. Pixels
on which both agree are sure, the others get 255. Writes ``labels/<id>.png``, resumable per photo
and sharded over ranks, and ``background.json``; with ``behavior: published`` also the marginals of
both CRFs, ``marginals/<id>.safetensors``. Labels are computed again only if their map or their
photo changed. With ``use_drawn``, masks that were drawn or accepted in corrections are labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tag2mask.affinity.labels import agreed_labels, label_path
from tag2mask.affinity.marginals import marginals_path, write_marginals
from tag2mask.artifacts.handles import AffinityLabels, AnyMaps, Handle, PreparedData
from tag2mask.artifacts.items import skipped_lines
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
from tag2mask.data.corrections.folder import CORRECTIONS, corrections_of
from tag2mask.data.index import Sample, read_classes
from tag2mask.data.masks import write_mask
from tag2mask.data.photos import read_photo, read_sample_mask
from tag2mask.errors import DataError
from tag2mask.files.digests import digest
from tag2mask.maps.background_threshold import derived_alpha, with_background
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.maps.threshold_sources import BackgroundThreshold, corrected_masks
from tag2mask.recipe.maps_to_masks import AffinityLabeling
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import sized_map
from tag2mask.steps.photo_loops.per_photo import (
    PhotoOutputs,
    files_exist,
    has_all_files,
    prepared_ids,
)
from tag2mask.steps.threshold_choice import kept_background_threshold


def affinity_labels(
    data: PreparedData, maps: AnyMaps, section: AffinityLabeling, out: Path, runtime: Runtime
) -> AffinityLabels:
    """Make the affinity labels of every training photo that has maps.

    Args:
        data: photos and classes.
        maps: maps of these photos.
        section: settings.
        out: folder to write; labels whose map is unchanged are kept. In a complete folder, only
            missing labels are computed.
        runtime: where to run.

    Raises:
        DataError: maps missing, damaged, of other photos or classes; no training photo has any; a
            photo can't be read (unless ``skip_bad``); no background threshold can be found.
        RunFolderError: ``out`` was made with other maps or other settings, or can't be written.
    """
    files = partial(_files, out, section)
    drawn = corrected_masks(data) if section.use_drawn else {}
    coverage: dict[str, Handle | str] = {"data": data, "maps": maps}
    learned = corrections_of(data.path).drawn_fingerprint(data.path) if section.use_drawn else ""
    if learned:
        coverage[CORRECTIONS] = learned
    with step_folder(
        AffinityLabels,
        out,
        section=section,
        coverage=coverage,
        rank=runtime.rank,
        has_all=has_all_files(files, partial(prepared_ids, data)),
    ) as step:
        if step.complete:
            return step.handle
        classes = read_classes(data.path)
        photos = mapped_photos(data, maps)
        samples = photos.splits.get("train", [])
        if not samples:
            raise DataError(
                "no training photo has a map",
                where=maps.path,
                fix=f"Let {maps.step} make maps of the training photos too.",
            )
        alphas, background = _alphas(data, photos, section, step.path, runtime)
        labeler = _AffinityLabeler(photos, classes.colors, section, alphas, drawn, step)
        labeler.outputs.remove_missing({sample.id for sample in samples})
        computed, skipped = labeler.outputs.write(
            samples, labeler.write, runtime, skip_bad=section.skip_bad
        )
        made = [sample for sample in samples if files_exist(files, [sample.id])]
        handle = step.finish(
            counts={
                "photos": len(made),
                "computed": computed,
                **({"drawn": sum(s.id in drawn for s in made)} if drawn else {}),
            },
            metrics={
                "alphas": list(alphas),
                **({} if background is None else background.metrics()),
            },
            skipped=[*photos.skipped, *skipped_lines(skipped)],
        )
        runtime.barrier()
        return handle


def _alphas(
    data: PreparedData,
    photos: MappedPhotos,
    section: AffinityLabeling,
    folder: Path,
    runtime: Runtime,
) -> tuple[tuple[float, float], BackgroundThreshold | None]:
    """Return α of the strong and of the weak background, and the threshold they derive from."""
    if section.alphas is not None:
        return section.alphas, None
    background = kept_background_threshold(folder, data, photos, section, runtime)
    alpha = derived_alpha(background.threshold)
    strong, weak = (round(alpha * factor, 4) for factor in section.alpha_factors)
    return (strong, weak), background


class _AffinityLabeler:
    """Labels photos by two dense CRFs and writes the labels."""

    def __init__(
        self,
        photos: MappedPhotos,
        colors: tuple[tuple[int, int, int], ...],
        section: AffinityLabeling,
        alphas: tuple[float, float],
        drawn: Mapping[str, Path],
        step: Step[AffinityLabels],
    ) -> None:
        self.photos = photos
        self.colors = colors
        self.section = section
        self.alphas = alphas
        self.drawn = drawn
        self.outputs = PhotoOutputs(step, partial(_files, step.path, section), self._key)
        self.crf = CrfSettings(**section.crf.model_dump())

    def write(
        self, samples: Sequence[Sample], bar: ProgressBar
    ) -> Iterator[tuple[Sample, DataError | None]]:
        """Label photos; yield each once its labels are written, or why it can't be read."""
        return sized_map(self._label, samples, lambda sample: sample.pixels)

    def _key(self, sample: Sample) -> str:
        if sample.id in self.drawn:
            return f"drawn {sample.stamp} {digest(self.drawn[sample.id])}"
        alphas = " ".join(f"{alpha:g}" for alpha in self.alphas)
        return f"{alphas} {sample.stamp} {self.photos.stamp(sample.id)}"

    def _label(self, sample: Sample, threads: int) -> tuple[Sample, DataError | None]:
        path, *further = self.outputs.files(sample.id)
        if sample.id in self.drawn:
            mask = read_sample_mask(sample, self.drawn[sample.id], self.photos.classes)
            write_mask(path, mask, self.colors)
            return sample, None
        cam_map = self.photos.read(sample)
        # Without a tag, everything is background.
        strong = weak = np.ones((1, *sample.size), np.float32)
        if cam_map.tags:
            try:
                photo = read_photo(sample)
            except DataError as error:
                return sample, error
            scores = cam_map.full_scores()
            crf = DenseCrf(np.asarray(photo), self.crf, threads=threads)
            strong, weak = (crf.refine(with_background(scores, alpha)) for alpha in self.alphas)
        labels = agreed_labels(strong, weak, cam_map.tags)
        write_mask(path, labels, self.colors)
        for marginals in further:
            write_marginals(marginals, strong, weak, cam_map.tags)
        return sample, None


def _files(folder: Path, section: AffinityLabeling, photo_id: str) -> list[Path]:
    """Return the path of a photo's labels, and of its marginals if the section asks for them."""
    published = section.behavior == "published"
    further = [marginals_path(folder, photo_id)] if published else []
    return [label_path(folder, photo_id), *further]
