"""Sections with photos: overlays of maps, labels and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.affinity.labels import label_path
from tag2mask.artifacts.handles import (
    AffinityLabels,
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
from tag2mask.data.index import Sample, read_classes, read_index, read_mask_paths
from tag2mask.data.inventory import SPLITS
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError
from tag2mask.evaluation.records import CRF_MASKS, SEGMENTER, maps_name
from tag2mask.evaluation.wording import with_unit
from tag2mask.maps.cam_map import MAP_SUFFIX, read_map
from tag2mask.report.overlays import fitted, heat_overlay, mask_overlay
from tag2mask.report.page import (
    Block,
    Gallery,
    Note,
    PageSection,
    PhotoRow,
    Picture,
    hex_color,
    picture,
)
from tag2mask.report.photo_choice import PhotoScore, examples, photo_mious, pick_photos
from tag2mask.report.run_folder import PHOTOS, RunFolder

LABELED = 4
"""Photos whose affinity labels are shown."""
PICTURE_SIDE = 360
"""Long side of a picture, px; twice what the page shows, for dense screens."""


def photo_section(runs: Sequence[RunFolder], count: int) -> PageSection:
    """Return overlays of the best, middle and worst photos, by mIoU or else by quality score."""
    main = runs[0]
    prepared = main.handle(PreparedData)
    if prepared is None:
        return PageSection("photos", "Photos", ())
    samples: dict[tuple[str, str], Sample] = {
        (split, sample.id): sample
        for split in SPLITS
        for sample in read_index(prepared.path, split)
    }
    evaluation = main.handle(Evaluation)
    chosen = (
        [("Examples", examples(list(samples), count))]
        if evaluation is None
        else pick_photos(evaluation.path / PHOTOS, count)
    )
    ids = {(photo.split, photo.id) for _, photos in chosen for photo in photos}
    draw = Overlays(
        runs,
        read_classes(prepared.path),
        read_mask_paths(prepared.path),
        [
            photo_mious(scored.path / PHOTOS, ids) if (scored := run.handle(Evaluation)) else {}
            for run in runs
        ],
    )
    blocks: list[Block] = []
    for title, photos in chosen:
        rows = []
        for found in photos:
            sample = samples.get((found.split, found.id))
            if sample is None:
                continue
            try:
                rows.append(draw.row(sample, found))
            except DataError as error:
                blocks.append(Note(f"{found.id} can't be shown: {error.what}."))
        if rows:
            blocks.append(Gallery(title, tuple(rows)))
    return PageSection(
        "photos",
        "Photos",
        tuple(blocks),
        intro="Heat: the largest score over the photo's classes, from purple (low) to "
        "yellow (high). Hatched: pixels that the ground truth ignores. Quality: the mean rank, by "
        "the evidence named after it, among the photos of the split; it needs no ground truth.",
    )


def label_section(run: RunFolder) -> PageSection:
    """Return the affinity labels of a few tagged training photos."""
    prepared, labels = run.handle(PreparedData), run.handle(AffinityLabels)
    if prepared is None or labels is None:
        return PageSection("affinity-labels", "Affinity labels", ())
    samples = {sample.id: sample for sample in read_index(prepared.path, "train") if sample.tags}
    draw = Overlays([run], read_classes(prepared.path), read_mask_paths(prepared.path), [{}])
    alphas = " and ".join(f"{alpha:g}" for alpha in labels.manifest.metrics.get("alphas", ()))
    rows: list[PhotoRow] = []
    blocks: list[Block] = [Note(f"α of the two backgrounds: {alphas}.")] if alphas else []
    for found in examples([("train", photo_id) for photo_id in samples], LABELED):
        path = label_path(labels.path, found.id)
        if path.is_file():
            try:
                rows.append(draw.labels(run, samples[found.id], path))
            except DataError as error:
                blocks.append(Note(f"{found.id} can't be shown: {error.what}."))
    if rows:
        blocks.append(Gallery("", tuple(rows)))
    return PageSection(
        "affinity-labels",
        "Affinity labels",
        tuple(blocks),
        intro="The labels that AffinityNet is trained on: pixels that two dense CRFs agree on, "
        "one with a strong and one with a weak background. Hatched: ignored pixels.",
    )


class Overlays:
    """The pictures of a photo: the photo, the maps and masks of each run, the ground truth."""

    def __init__(
        self,
        runs: Sequence[RunFolder],
        classes: ClassSet,
        truths: dict[str, Path],
        mious: Sequence[dict[tuple[str, str], float]],
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
        pictures = [picture("photo", photo)]
        for run, mious in zip(self.runs, self.mious, strict=True):
            pictures += self._of_run(run, photo, sample.id, mious.get((found.split, found.id)))
        return PhotoRow(
            sample.id, found.text, self._chips(sample), (*pictures, *self._truth(sample, photo))
        )

    def labels(self, run: RunFolder, sample: Sample, path: Path) -> PhotoRow:
        """Return photo, heat, affinity labels and ground truth.

        Raises:
            DataError: the photo, its labels, its mask or its map can't be read.
        """
        photo = _small(sample)
        pictures = (
            picture("photo", photo),
            *self._heat(run, CamMaps, photo, sample.id, ""),
            self._mask("affinity labels", path, photo),
            *self._truth(sample, photo),
        )
        return PhotoRow(sample.id, "train", self._chips(sample), pictures)

    def _of_run(
        self, run: RunFolder, photo: Image.Image, photo_id: str, miou: float | None
    ) -> list[Picture]:
        """Return the maps and masks of one run, in the order of its stages."""
        several = len(self.runs) > 1
        name = f", {run.label}" if several else ""
        pictures = self._heat(run, CamMaps, photo, photo_id, name)
        crf = _file(run, Evaluation, CRF_MASKS, f"{photo_id}.png")
        if crf is not None:
            pictures.append(self._mask(f"mask: CRF{name}", crf, photo))
        pictures += self._heat(run, WalkedMaps, photo, photo_id, name)
        mask = _file(run, PseudoMaskFolder, "masks", f"{photo_id}.png")
        if mask is not None:
            score = f", {with_unit(miou)}" if several and miou is not None else ""
            pictures.append(self._mask(f"pseudo mask{name}{score}", mask, photo))
        predicted = _file(run, Predictions, "masks", f"{photo_id}.png")
        if predicted is not None:
            pictures.append(self._mask(f"{SEGMENTER}{name}", predicted, photo))
        return pictures

    def _heat(
        self, run: RunFolder, kind: type[Handle], photo: Image.Image, photo_id: str, name: str
    ) -> list[Picture]:
        """Return the largest score of each pixel as heat; an empty list without a map."""
        path = _file(run, kind, "maps", f"{photo_id}{MAP_SUFFIX}")
        if path is None:
            return []
        scores = read_map(path).scores
        largest = scores.max(axis=0) if len(scores) else np.zeros((1, 1), np.float32)
        what = "walk" if kind is WalkedMaps else _maps_name(run)
        caption = f"heat: {what}" if what else "heat"
        return [picture(f"{caption}{name}", heat_overlay(photo, largest))]

    def _mask(self, caption: str, path: Path, photo: Image.Image) -> Picture:
        labels = read_mask(path, len(self.classes))
        return picture(caption, mask_overlay(photo, labels, self.colors))

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


def _file(run: RunFolder, kind: type[Handle], folder: str, name: str) -> Path | None:
    handle = run.handle(kind)
    path = handle.path / folder / name if handle is not None else None
    return path if path is not None and path.is_file() else None
