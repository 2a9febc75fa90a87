"""Labeling and writing of photos in step ``predict``, several at a time; needs no torch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tag2mask.artifacts.handles import Predictions
from tag2mask.artifacts.items import item_path, skipped_lines
from tag2mask.artifacts.step_folder import Step
from tag2mask.data.images import read_image
from tag2mask.data.index import Sample
from tag2mask.data.masks import confidence_path, mask_path, write_confidence, write_mask
from tag2mask.data.photo_files import PhotoFile
from tag2mask.data.remote.downloads import Downloads, Fetched, downloads
from tag2mask.data.remote.listing import GivenPhoto
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.recipe.sections import Predict
from tag2mask.report.overlays import OVERLAY_SIDE, fitted, overlay_path, write_overlay
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.ranks import Ranks
from tag2mask.runtime.threads import grouped, ordered_map
from tag2mask.segmentation.inference.label_canvas import PhotoLabels
from tag2mask.segmentation.inference.labeling import PhotoLabeler, PhotoViews
from tag2mask.segmentation.standalone.decisions import Decisions
from tag2mask.segmentation.standalone.files import time_of
from tag2mask.steps.photo_loops.empty_results import empty_files, mask_shows_tags
from tag2mask.steps.photo_loops.per_photo import PhotoOutputs, Written, is_large

WAITING_BATCHES = 8
"""Number of batches of photos that may wait for others of their size."""


def _probabilities_path(out: Path, photo_id: str) -> Path:
    return item_path(out / "probabilities", photo_id, ".npz")


def photo_files(out: Path, section: Predict, photo_id: str) -> list[Path]:
    """Return the paths of a photo's mask and of the other files that the section asks for."""
    files = [mask_path(out, photo_id)]
    if section.overlays:
        files.append(overlay_path(out, photo_id))
    if section.confidence:
        files.append(confidence_path(out, photo_id))
    if section.probabilities:
        files.append(_probabilities_path(out, photo_id))
    return files


class _ReadPhoto(NamedTuple):
    """A photo after reading; without views and failure it is large and labeled at the end.

    Attributes:
        photo: the photo.
        views: input of the network.
        shown: picture under the overlay.
        failure: why the photo can't be read.
    """

    photo: GivenPhoto
    views: PhotoViews | None = None
    shown: Image.Image | None = None
    failure: DataError | None = None


class PhotoPredictor:
    """Labels photos and writes their files.

    Photos are read, labeled and written in the same few threads, so that neither the network nor
    the disk waits. Large photos are labeled one at a time.

    Args:
        labeler: labels photos.
        section: settings.
        step: folder of the step.
        decisions: gets a line for each mask; the labeler must return confidences of 8 bits then.
    """

    def __init__(
        self,
        labeler: PhotoLabeler,
        section: Predict,
        step: Step[Predictions],
        decisions: Decisions | None = None,
    ) -> None:
        self.labeler = labeler
        self.decisions = decisions
        self.segmenter = labeler.segmenter
        self.section = section
        self.step = step
        self.outputs: PhotoOutputs[GivenPhoto] = PhotoOutputs(
            step, partial(photo_files, step.path, section), lambda photo: photo.stamp
        )

    def finish(
        self,
        photos: Sequence[GivenPhoto],
        ranks: Ranks,
        counts: Mapping[str, int],
        *,
        skip_bad: bool,
        tagged: Sequence[Sample] = (),
    ) -> Predictions:
        """Write the files that are missing, on all ranks, and complete the folder.

        Args:
            photos: the photos.
            ranks: the processes that share them.
            counts: further counts for the manifest, omitted if 0.
            skip_bad: whether unreadable photos are skipped.
            tagged: the photos whose tags are known; how many masks show none of them is counted.

        Raises:
            DataError: a photo can't be read, and ``skip_bad`` is false.
        """
        # No file can have these names, so there are none to remove.
        unnamable = [(photo.id, photo.problem) for photo in photos if photo.problem]
        named = [photo for photo in photos if not photo.problem]
        computed, unreadable = self.write(named, ranks, skip_bad=skip_bad)
        skipped = sorted([*unnamable, *unreadable])
        return self.complete(len(photos), computed, skipped, ranks, counts, tagged)

    def write(self, photos: Sequence[GivenPhoto], ranks: Ranks, *, skip_bad: bool) -> Written:
        """Write the files of photos that are missing, on all ranks."""
        return self.outputs.write(photos, self._write_all, ranks, skip_bad=skip_bad)

    def complete(
        self,
        photos: int,
        computed: int,
        skipped: Sequence[tuple[str, str]],
        ranks: Ranks,
        counts: Mapping[str, int],
        tagged: Sequence[Sample] = (),
    ) -> Predictions:
        """Write the manifest; ``photos`` counts the skipped ones, (id, reason), too."""
        if self.decisions is not None:
            self.decisions.write_groups()
        shows_tags = partial(mask_shows_tags, num_classes=len(self.segmenter.classes))
        empty = empty_files(tagged, self.outputs.files, shows_tags, ranks)
        handle = self.step.finish(
            counts={
                "photos": photos - len(skipped),
                "computed": computed,
                **{name: count for name, count in counts.items() if count},
                **empty.counts,
            },
            metrics={
                "classes": list(self.segmenter.classes.names),
                "long_side": self.labeler.settings.long_side,
                # No error even if these are all: scores and report, which cost little, show why.
                **empty.metrics(
                    "the predicted masks of {} show none of their tags",
                    "Train the network longer (train_segmenter.epochs; in a run with `--redo "
                    "train-segmenter`), or look at the pseudo masks it learned from.",
                ),
            },
            skipped=skipped_lines(skipped),
        )
        ranks.barrier()
        return handle

    def _write_all(
        self, due: Sequence[GivenPhoto], bar: ProgressBar
    ) -> Iterator[tuple[GivenPhoto, DataError | None]]:
        """Yield each photo once its files are written, or why it can't be read; large ones last."""
        with downloads(due) as files:
            large: list[GivenPhoto] = []
            for photo, views, _, failure in self._label_small(due, files):
                if views is None and failure is None:
                    large.append(photo)
                else:
                    yield photo, failure
            for photo in large:
                yield photo, self._label_large(files.fetch(photo), bar)

    def _label_small(
        self, due: Sequence[GivenPhoto], files: Downloads
    ) -> Generator[_ReadPhoto, None, None]:
        """Label and write the photos that are not large; yield all."""
        threads, most = self.segmenter.caller_threads, self.labeler.photos_at_once
        with (
            closing(files.ahead(due)) as fetched,
            closing(ordered_map(self._read, fetched, threads)) as read,
        ):
            batches = grouped(read, _batch_key, most, WAITING_BATCHES * most)
            with closing(ordered_map(self._label, batches, threads)) as labeled:
                for batch in labeled:
                    yield from batch

    def _read(self, fetched: Fetched) -> _ReadPhoto:
        photo = fetched.photo
        try:
            with fetched.opened() as file:
                size = file.current_size()
                if is_large(size) or self.labeler.is_tiled(size):
                    return _ReadPhoto(photo)
                image, shown = self._image(file, size)
        except DataError as error:
            return _ReadPhoto(photo, failure=error)
        return _ReadPhoto(photo, self.labeler.views(image, size), shown)

    def _image(
        self, photo: PhotoFile, size: tuple[int, int]
    ) -> tuple[Image.Image, Image.Image | None]:
        """Return a photo, no larger than needed if its format allows, and the overlay's picture."""
        needed = self.labeler.decode_at(size)
        overlay = OVERLAY_SIDE if self.section.overlays else 1
        image = read_image(photo.path, at_least=max(needed, overlay))
        return image, fitted(image, OVERLAY_SIDE) if self.section.overlays else None

    def _label(self, batch: Sequence[_ReadPhoto]) -> Sequence[_ReadPhoto]:
        """Label and write photos whose views have equal sizes; return all photos of the batch."""
        views = [read.views for read in batch if read.views is not None]
        if views:
            for read, labeled in zip(batch, self.labeler.label(views), strict=True):
                self._write(read.photo, labeled, read.shown)
        return batch

    def _label_large(self, fetched: Fetched, bar: ProgressBar) -> DataError | None:
        """Label and write one large photo with all threads; return why it can't be read."""
        try:
            with fetched.opened() as file:
                size = file.current_size()
                image, shown = self._image(file, size)
        except DataError as error:
            return error
        labeled = self.labeler(
            image, size, progress=lambda done, of: bar.advance(0, f"tile {done} of {of}")
        )
        del image
        self._write(fetched.photo, labeled, shown)
        return None

    def _write(self, photo: GivenPhoto, labeled: PhotoLabels, shown: Image.Image | None) -> None:
        folder, colors = self.step.path, self.segmenter.classes.colors
        mask = mask_path(folder, photo.id)
        write_mask(mask, labeled.labels, colors)
        if shown is not None:
            write_overlay(overlay_path(folder, photo.id), shown, labeled.labels, colors)
        if labeled.confidence is not None and self.section.confidence:
            write_confidence(confidence_path(folder, photo.id), labeled.confidence)
        if labeled.confidence is not None and self.decisions is not None:
            self.decisions.add(photo.id, time_of(mask), labeled.labels, labeled.confidence)
        if labeled.probabilities is not None:
            with (
                atomic_write(_probabilities_path(folder, photo.id), durable=False) as temporary,
                temporary.open("wb") as file,
            ):
                np.savez_compressed(
                    file,
                    id=np.array(photo.id),
                    size=np.array(labeled.labels.shape, "<i4"),
                    classes=np.array(self.segmenter.classes.mask_names),
                    probabilities=labeled.probabilities,
                )


def _batch_key(read: _ReadPhoto) -> object:
    """Return what the photos of a batch have in common; one without views is alone."""
    return read.photo.id if read.views is None else read.views.padded
