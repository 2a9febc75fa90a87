"""Step ``predict``: a segmentation network's masks of photos; no tags are needed.

In a run these are the photos of the chosen splits (`predict_prepared`), else photos from anywhere
(`predict`). Writes ``masks/<id>.png`` and, if asked, ``overlays/<id>.jpg``, ``confidence/<id>.png``
and ``probabilities/<id>.npz``; resumable per photo and sharded over ranks.

Photos are read, labeled and written in the same few threads, so that neither the network nor the
disk waits. Large photos go one at a time. Imports no torch: a network of ONNX needs none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from tag2mask.artifacts.files import atomic_write
from tag2mask.artifacts.handles import Predictions, PreparedData, SegmenterModel
from tag2mask.artifacts.journal import recorded_items
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.crf.dense_crf import CrfSettings
from tag2mask.data.images import read_image
from tag2mask.data.index import read_classes, read_index
from tag2mask.data.inventory import SPLITS
from tag2mask.data.layouts.ids import path_conflicts
from tag2mask.data.masks import write_confidence, write_mask
from tag2mask.data.photo_files import PhotoFile
from tag2mask.errors import DataError, RunFolderError, first_few
from tag2mask.recipe.sections import Predict
from tag2mask.report.overlays import fitted, mask_overlay
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.ranks import OneProcess, Ranks
from tag2mask.runtime.threads import grouped, ordered_map
from tag2mask.segmentation.inference.label_canvas import PhotoLabels
from tag2mask.segmentation.inference.labeling import LabelingSettings, PhotoLabeler, PhotoViews
from tag2mask.segmentation.inference.segmenter import Segmenter
from tag2mask.segmentation.loading import open_segmenter
from tag2mask.steps.per_photo import PhotoOutputs, files_exist

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime


LARGE_PIXELS = 64_000_000
"""Photos of more are worked on one at a time: their pixels take hundreds of MB each."""
OVERLAY_SIDE = 1600
"""Long side of an overlay at most, px."""
WAITING_BATCHES = 8
"""Photos that wait for others of their size, in batches."""


def predict_prepared(
    data: PreparedData, model: SegmenterModel, section: Predict, out: Path, runtime: Runtime
) -> Predictions:
    """Make the masks of all photos of the chosen splits; their tags are not looked at.

    Args:
        data: photos and classes.
        model: a segmentation network trained on these classes.
        section: settings.
        out: folder to write; masks of unchanged photos are kept, even in a complete folder only
            those are made whose file is lost.
        runtime: where to run.

    Raises:
        DataError: a photo can't be read (unless ``skip_bad``) or changed since ``prepare``, the
            data has other classes than the model, or its probabilities aren't finite.
        WeightsError: the model can't be read, or isn't finite.
        DeviceError: out of memory.
        RunFolderError: ``out`` was made with another model or other settings, or can't be written.
    """
    with step_folder(
        Predictions,
        out,
        section=section,
        inputs={"model": model},
        coverage={"data": data},
        rank=runtime.rank,
    ) as step:
        files = partial(_files, step, section)
        if step.complete and files_exist(files, step.journal.ids()):
            return step.handle
        segmenter = open_segmenter(
            model.path, device=str(runtime.device), precision=section.precision
        )
        if read_classes(data.path) != segmenter.classes:
            raise DataError(
                "the segmentation network was trained on other classes than the data has",
                where=data.path,
                fix="Train on this data, or give the data it was trained on.",
            )
        samples = {
            sample.id: sample
            for split in SPLITS
            if split in section.splits
            for sample in read_index(data.path, split)
        }
        photos = [PhotoFile(s.id, s.image, s.stamp, s.size) for s in samples.values()]
        maker = _MaskMaker(segmenter, section, step)
        removed = maker.outputs.remove_missing({photo.id for photo in photos})
        return maker.finish(photos, runtime, {"removed": removed}, skip_bad=section.skip_bad)


def predict(
    photos: Sequence[PhotoFile],
    segmenter: Segmenter,
    section: Predict,
    out: Path,
    *,
    model: str,
    ranks: Ranks | None = None,
) -> Predictions:
    """Make the masks of photos from anywhere; those that can't be read are left out and listed.

    Args:
        photos: as `list_photos` lists them.
        segmenter: the network.
        section: settings.
        out: folder to write; masks of unchanged photos are kept, also those of earlier calls with
            other photos.
        model: sha256 of the network's file, by which the folder knows it.
        ranks: processes that share the photos; None: this one alone.

    Raises:
        DataError: the network's probabilities aren't finite.
        DeviceError: out of memory.
        RunFolderError: ``out`` was made with another model or other settings, holds masks of other
            photos of the same ids, or can't be written.
    """
    ranks = ranks or OneProcess()
    ids = {photo.id for photo in photos}
    _refuse_others(out, photos, ids)
    with step_folder(
        Predictions,
        out,
        section=section,
        inputs={"model": model},
        coverage={"photos": _fingerprint(photos)},
        rank=ranks.rank,
    ) as step:
        files = partial(_files, step, section)
        if step.complete and files_exist(files, ids.intersection(step.journal.ids())):
            return step.handle
        earlier = sum(item not in ids for item in step.journal.ids())
        maker = _MaskMaker(segmenter, section, step)
        return maker.finish(photos, ranks, {"earlier": earlier}, skip_bad=True)


def _refuse_others(out: Path, photos: Sequence[PhotoFile], ids: Set[str]) -> None:
    """A folder has room for one mask of an id, and of photos that aren't in each other's way."""
    stamps = recorded_items(out)
    others = {
        photo.id for photo in photos if photo.id in stamps and photo.is_another(stamps[photo.id])
    }
    earlier = stamps.keys() - ids
    if earlier:
        others |= {
            outer if outer in ids else inner
            for outer, inner in path_conflicts(earlier | ids)
            if outer in earlier or inner in earlier
        }
    if others:
        raise RunFolderError(
            "masks of other photos have the names of these (or their folder was "
            f"moved): {first_few(sorted(others))}",
            where=out,
            fix="Give another --out, or --redo to delete the older masks.",
        )


def segmentation_settings(section: Predict, segmenter: Segmenter) -> LabelingSettings:
    """What a section means for a network."""
    sides = {"trained": segmenter.long_side, "photo": None}
    crf = CrfSettings(**section.crf.model_dump(exclude={"enabled"}))
    return LabelingSettings(
        long_side=section.long_side
        if isinstance(section.long_side, int)
        else sides[section.long_side],
        scales=section.scales,
        flip=section.flip,
        tile=section.tile,
        overlap=section.overlap,
        batch_size=section.batch_size,
        crf=crf if section.crf.enabled else None,
        confidence="uint8" if section.confidence else None,
        probabilities=section.probabilities,
    )


_SUFFIXES = {"masks": ".png", "overlays": ".jpg", "confidence": ".png", "probabilities": ".npz"}
"""Folders of the step's folder -> suffix of the files in them."""


def _file(step: Step[Predictions], folder: str, photo_id: str) -> Path:
    return step.path / folder / f"{photo_id}{_SUFFIXES[folder]}"


def _files(step: Step[Predictions], section: Predict, photo_id: str) -> list[Path]:
    """Return the paths of a photo's mask and of what else is asked for."""
    wanted = {
        "masks": True,
        "overlays": section.overlays,
        "confidence": section.confidence,
        "probabilities": section.probabilities,
    }
    return [_file(step, folder, photo_id) for folder in _SUFFIXES if wanted[folder]]


class _ReadPhoto(NamedTuple):
    """A photo's views, or why it can't be read; neither: it is large, and comes last."""

    photo: PhotoFile
    views: PhotoViews | None = None
    shown: Image.Image | None = None
    """What an overlay shows."""
    failure: DataError | None = None


class _MaskMaker:
    """Labels photos and writes their masks."""

    def __init__(self, segmenter: Segmenter, section: Predict, step: Step[Predictions]) -> None:
        self.segmenter = segmenter
        self.section = section
        self.step = step
        self.outputs: PhotoOutputs[PhotoFile] = PhotoOutputs(
            step, partial(_files, step, section), lambda photo: photo.stamp
        )
        self.segmentation = PhotoLabeler(segmenter, segmentation_settings(section, segmenter))

    def finish(
        self,
        photos: Sequence[PhotoFile],
        ranks: Ranks,
        counts: Mapping[str, int],
        *,
        skip_bad: bool,
    ) -> Predictions:
        """Write the masks that are due, all ranks together, and complete the folder.

        Args:
            photos: the photos.
            ranks: the processes that share them.
            counts: further counts for the manifest, left out where 0.
            skip_bad: whether unreadable photos are skipped.
        """
        # No file can have the name of these, so there is none to remove.
        unnamable = [f"{photo.id}: {photo.problem}" for photo in photos if photo.problem]
        named = [photo for photo in photos if not photo.problem]
        computed, unreadable = self.outputs.write(named, self._write_all, ranks, skip_bad=skip_bad)
        skipped = sorted([*unnamable, *unreadable])
        handle = self.step.finish(
            counts={
                "photos": len(photos) - len(skipped),
                "computed": computed,
                **{name: count for name, count in counts.items() if count},
            },
            metrics={
                "classes": list(self.segmenter.classes.names),
                "long_side": self.segmentation.settings.long_side,
            },
            skipped=skipped,
        )
        ranks.barrier()
        return handle

    def _write_all(
        self, due: Sequence[PhotoFile], bar: ProgressBar
    ) -> Iterator[tuple[PhotoFile, DataError | None]]:
        """Yield each photo once its files are written, or why it can't be read; large ones last."""
        large: list[PhotoFile] = []
        threads, most = self.segmenter.caller_threads, self.segmentation.photos_at_once
        with closing(ordered_map(self._read, due, threads)) as read:
            batches = grouped(read, _alike, most, WAITING_BATCHES * most)
            with closing(ordered_map(self._label, batches, threads)) as labeled:
                for found in labeled:
                    for photo, views, _, failure in found:
                        if views is None and failure is None:
                            large.append(photo)
                        else:
                            yield photo, failure
        for photo in large:
            yield photo, self._label_large(photo, bar)

    def _read(self, photo: PhotoFile) -> _ReadPhoto:
        try:
            height, width = size = photo.current_size()
            if height * width > LARGE_PIXELS or self.segmentation.is_tiled(size):
                return _ReadPhoto(photo)
            image, shown = self._image(photo, size)
        except DataError as error:
            return _ReadPhoto(photo, failure=error)
        return _ReadPhoto(photo, self.segmentation.views(image, size), shown)

    def _image(
        self, photo: PhotoFile, size: tuple[int, int]
    ) -> tuple[Image.Image, Image.Image | None]:
        """A photo, no larger than needed where its format allows, and what an overlay shows."""
        needed = self.segmentation.decode_at(size)
        overlay = OVERLAY_SIDE if self.section.overlays else 1
        image = read_image(photo.path, at_least=max(needed, overlay))
        return image, fitted(image, OVERLAY_SIDE) if self.section.overlays else None

    def _label(self, batch: Sequence[_ReadPhoto]) -> Sequence[_ReadPhoto]:
        """Label and write photos whose views are of equal sizes; others pass."""
        views = [read.views for read in batch if read.views is not None]
        if views:
            for read, labeled in zip(batch, self.segmentation.label(views), strict=True):
                self._write(read.photo, labeled, read.shown)
        return batch

    def _label_large(self, photo: PhotoFile, bar: ProgressBar) -> DataError | None:
        """Label and write one large photo, with all threads."""
        try:
            size = photo.current_size()
            image, shown = self._image(photo, size)
        except DataError as error:
            return error
        labeled = self.segmentation(
            image, size, progress=lambda done, of: bar.advance(0, f"tile {done} of {of}")
        )
        del image
        self._write(photo, labeled, shown)
        return None

    def _write(self, photo: PhotoFile, labeled: PhotoLabels, shown: Image.Image | None) -> None:
        path, colors = partial(_file, self.step), self.segmenter.classes.colors
        write_mask(path("masks", photo.id), labeled.labels, colors)
        if shown is not None:
            overlay = mask_overlay(shown, labeled.labels, colors)
            with atomic_write(path("overlays", photo.id), durable=False) as temporary:
                overlay.save(temporary, quality=90)
        if labeled.confidence is not None:
            write_confidence(path("confidence", photo.id), labeled.confidence)
        if labeled.probabilities is not None:
            with (
                atomic_write(path("probabilities", photo.id), durable=False) as temporary,
                temporary.open("wb") as file,
            ):
                np.savez_compressed(
                    file,
                    id=np.array(photo.id),
                    size=np.array(labeled.labels.shape, "<i4"),
                    classes=np.array(self.segmenter.classes.mask_names),
                    probabilities=labeled.probabilities,
                )


def _alike(read: _ReadPhoto) -> object:
    """What photos of a batch share; a photo without views is a batch of its own."""
    return read.photo.id if read.views is None else read.views.padded


def _fingerprint(photos: Sequence[PhotoFile]) -> str:
    """sha256 (hex) of ids and stamps."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.id}\0{photo.stamp}\n".encode())
    return digest.hexdigest()
