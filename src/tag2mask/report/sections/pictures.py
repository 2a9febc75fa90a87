"""The pictures of a photo: its maps, labels and masks, laid over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.artifacts.handles import (
    CamMaps,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.classes import ClassSet, mask_id
from tag2mask.data.images import read_image
from tag2mask.data.index import Sample, read_index
from tag2mask.data.masks import crf_mask_path, mask_path, read_mask
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError
from tag2mask.evaluation.photo_rows import Place
from tag2mask.evaluation.records import SEGMENTER, maps_name
from tag2mask.evaluation.wording import mask_name, with_unit
from tag2mask.maps.cam_map import map_path, read_map
from tag2mask.report.overlays import fitted, heat_layer, mask_layer
from tag2mask.report.page import (
    Block,
    Gallery,
    Note,
    PhotoRow,
    Picture,
    hex_color,
    jpeg_uri,
    layer,
    plain_photo,
)
from tag2mask.report.photo_choice import PhotoScore
from tag2mask.report.run_folder import RunFolder

PICTURE_SIDE = 1024
"""Long side of the largest picture, px: what a click opens. It is embedded once per photo; maps and
masks are laid over it."""
CLASS_MAPS = 4
"""Classes of a photo whose maps are shown one by one."""


def samples_by_place(prepared: PreparedData) -> dict[Place, Sample]:
    """Return all photos by (split, id)."""
    return {
        (split, sample.id): sample
        for split in SPLITS
        for sample in read_index(prepared.path, split)
    }


def gallery(photos: Iterable[tuple[str, Callable[[], PhotoRow]]], title: str = "") -> list[Block]:
    """Return a gallery of photos, after a note on each that can't be read.

    Args:
        photos: the id of each, and what makes its row or raises a DataError.
        title: of the gallery.
    """
    notes, rows = [], []
    for id, row in photos:
        try:
            rows.append(row())
        except DataError as error:
            notes.append(Note(f"{id} can't be shown: {error.what}."))
    return [*notes, Gallery(title, tuple(rows))] if rows else [*notes]


class Overlays:
    """The pictures of a photo: the photo, the maps and masks of each run, the ground truth."""

    def __init__(
        self,
        runs: Sequence[RunFolder],
        classes: ClassSet,
        truths: dict[str, Path],
        mious: Sequence[dict[Place, float]],
    ) -> None:
        self.runs = runs
        self.classes = classes
        self.truths = truths
        self.mious = mious
        self.colors = classes.colors

    def row(self, sample: Sample, found: PhotoScore) -> PhotoRow:
        """Return the pictures of one photo, without those that a run doesn't have.

        Raises:
            DataError: the photo, its mask or its map can't be read.
        """
        photo = _small(sample)
        pictures = [plain_photo("photo", photo.size)]
        for run, mious in zip(self.runs, self.mious, strict=True):
            pictures += self._of_run(run, photo, sample.id, mious.get((found.split, found.id)))
        pictures += self._truth(sample, photo)
        text = found.text(mask_name(self.runs[0].masks_made_by))
        return self._row(sample, text, pictures, photo)

    def labels(self, run: RunFolder, sample: Sample, path: Path) -> PhotoRow:
        """Return photo, heat, affinity labels and ground truth.

        Raises:
            DataError: the photo, its labels, its mask or its map can't be read.
        """
        photo = _small(sample)
        pictures = (
            plain_photo("photo", photo.size),
            *self._heat(run, CamMaps, photo, sample.id, ""),
            self._mask("affinity labels", path, photo),
            *self._truth(sample, photo),
        )
        return self._row(sample, "train", pictures, photo)

    def doubt(self, run: RunFolder, sample: Sample, tags: Sequence[int], detail: str) -> PhotoRow:
        """Return the photo, the maps of some classes, as far as there are any, and the masks.

        Raises:
            DataError: the photo, a mask or a map can't be read.
        """
        photo = _small(sample)
        maps = [kind for kind in (WalkedMaps, CamMaps) if run.handle(kind) is not None][:1]
        pictures = [plain_photo("photo", photo.size)]
        for kind in maps:
            pictures += self._class_heat(run, kind, photo, sample.id, tags)
        pictures += self._masks(run, photo, sample.id)
        return self._row(sample, detail, [*pictures, *self._truth(sample, photo)], photo)

    def _row(
        self, sample: Sample, detail: str, pictures: Sequence[Picture], photo: Image.Image
    ) -> PhotoRow:
        return PhotoRow(sample.id, detail, self._chips(sample), tuple(pictures), jpeg_uri(photo))

    def _of_run(
        self, run: RunFolder, photo: Image.Image, photo_id: str, miou: float | None
    ) -> list[Picture]:
        """Return the maps and masks of one run, in the order of its stages."""
        several = len(self.runs) > 1
        name = f", {run.label}" if several else ""
        pictures = self._heat(run, CamMaps, photo, photo_id, name)
        crf = _file(run, Evaluation, crf_mask_path, photo_id)
        if crf is not None:
            pictures.append(self._mask(f"mask: CRF{name}", crf, photo))
        pictures += self._heat(run, WalkedMaps, photo, photo_id, name)
        if not several:
            last = WalkedMaps if run.handle(WalkedMaps) is not None else CamMaps
            pictures += self._class_heat(run, last, photo, photo_id)
        score = f", {with_unit(miou)}" if several and miou is not None else ""
        return [*pictures, *self._masks(run, photo, photo_id, name, score)]

    def _masks(
        self, run: RunFolder, photo: Image.Image, photo_id: str, name: str = "", score: str = ""
    ) -> list[Picture]:
        """Return the run's mask and the network's mask, as far as the run has them."""
        pictures = []
        mask = _file(run, PseudoMaskFolder, mask_path, photo_id)
        if mask is not None:
            caption = f"{mask_name(run.masks_made_by)}{name}{score}"
            pictures.append(self._mask(caption, mask, photo))
        predicted = _file(run, Predictions, mask_path, photo_id)
        if predicted is not None:
            pictures.append(self._mask(f"{SEGMENTER}{name}", predicted, photo))
        return pictures

    def _heat(
        self, run: RunFolder, kind: type[Handle], photo: Image.Image, photo_id: str, name: str
    ) -> list[Picture]:
        """Return the largest score of each pixel as heat; an empty list without a map."""
        path = _file(run, kind, map_path, photo_id)
        if path is None:
            return []
        scores = read_map(path).scores
        largest = scores.max(axis=0) if len(scores) else np.zeros((1, 1), np.float32)
        what = "walk" if kind is WalkedMaps else _maps_name(run)
        caption = f"heat: {what}" if what else "heat"
        return [layer(f"{caption}{name}", heat_layer(largest), photo.size, "dark")]

    def _class_heat(
        self,
        run: RunFolder,
        kind: type[Handle],
        photo: Image.Image,
        photo_id: str,
        wanted: Sequence[int] | None = None,
    ) -> list[Picture]:
        """Return the maps of the wanted classes; by default of all, if there are several."""
        path = _file(run, kind, map_path, photo_id)
        if path is None:
            return []
        cam_map = read_map(path)
        if wanted is None:
            wanted = cam_map.tags[:CLASS_MAPS] if len(cam_map.tags) > 1 else ()
        return [
            layer(
                f"heat: {self.classes.names[tag]}",
                heat_layer(cam_map.scores[cam_map.tags.index(tag)]),
                photo.size,
                "dark",
            )
            for tag in wanted
            if tag in cam_map.tags
        ]

    def _mask(self, caption: str, path: Path, photo: Image.Image) -> Picture:
        labels = read_mask(path, len(self.classes))
        return layer(caption, mask_layer(labels, photo.size, self.colors), photo.size, "photo")

    def _truth(self, sample: Sample, photo: Image.Image) -> list[Picture]:
        path = self.truths.get(sample.id)
        return [] if path is None else [self._mask("ground truth", path, photo)]

    def _chips(self, sample: Sample) -> tuple[tuple[str, str], ...]:
        return tuple(
            (self.classes.names[tag], hex_color(self.colors[mask_id(tag)])) for tag in sample.tags
        )


def _small(sample: Sample) -> Image.Image:
    return fitted(read_image(sample.image, at_least=PICTURE_SIDE), PICTURE_SIDE)


def _maps_name(run: RunFolder) -> str:
    """Return CAM, SEAM or MDC; empty where the manifest of the maps has no name."""
    maps = run.handle(CamMaps)
    return (None if maps is None else maps_name(maps.manifest.metrics)) or ""


def _file(
    run: RunFolder, kind: type[Handle], path_of: Callable[[Path, str], Path], photo_id: str
) -> Path | None:
    handle = run.handle(kind)
    path = None if handle is None else path_of(handle.path, photo_id)
    return path if path is not None and path.is_file() else None
