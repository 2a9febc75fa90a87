"""How much a correction of each photo is expected to teach, without ground truth.

The gain is a weighted mean of: how bad the photo's masks probably are, whether its tags are
doubtful, and how rare its classes are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tag2mask.artifacts.handles import Evaluation, PseudoMaskFolder
from tag2mask.data.masks import confidence_path, read_mask
from tag2mask.errors import DataError
from tag2mask.evaluation.evidence import (
    NETWORK_QUALITY,
    QUALITY,
    map_evidence,
    network_evidence,
    network_mask_evidence,
    pseudo_mask_evidence,
)
from tag2mask.evaluation.photo_rows import photo_qualities
from tag2mask.evaluation.records import PHOTOS, read_scores
from tag2mask.maps.cam_map import read_map
from tag2mask.metrics.quality import quality_scores, soft_minimum
from tag2mask.review.folder import GIVEN, NETWORK, PSEUDO, ReviewFolder, ReviewPhoto
from tag2mask.runtime.threads import ordered_map

WEIGHTS = {"uncertainty": 1.0, "doubtful_tags": 0.25, "rarity": 0.25}
"""Weights of the parts of a gain."""
_SHARPNESS = 10.0
"""Of the soft minimum over a photo's pixels: one region of low confidence decides."""
_CONFIDENCE_SIDE = 256


@dataclass(frozen=True)
class Gain:
    """What a correction of a photo is expected to teach; each part is in [0, 1].

    Attributes:
        uncertainty: 1 minus the quality score of the photo's pseudo mask, else of the network's
            mask, or 0.5 if nothing is known.
        doubtful_tags: 1 if evaluation doubts one of its tags.
        rarity: photos of the rarest class over photos of the rarest of its own.
    """

    uncertainty: float
    doubtful_tags: float
    rarity: float

    @property
    def total(self) -> float:
        """The weighted mean of the parts, in [0, 1]."""
        parts = (getattr(self, name) * weight for name, weight in WEIGHTS.items())
        return float(sum(parts)) / sum(WEIGHTS.values())


def gains(folder: ReviewFolder) -> dict[str, Gain]:
    """Return the gain of every photo.

    Raises:
        RunFolderError: the evaluation is damaged.
    """
    quality = _evaluated_quality(folder) or _measured_quality(folder)
    doubtful, rare = _doubtful_photos(folder), _rarity(folder.photos)
    return {
        photo.id: Gain(
            1.0 - quality.get(photo.id, 0.5), float(photo.id in doubtful), rare[photo.id]
        )
        for photo in folder.photos
    }


def _evaluated_quality(folder: ReviewFolder) -> dict[str, float]:
    """Return the quality scores of ``evaluate``; empty if it has none."""
    path = None if folder.evaluation is None else folder.evaluation / PHOTOS
    if path is None or not path.is_file():
        return {}
    return photo_qualities(path, QUALITY, NETWORK_QUALITY)


def _measured_quality(folder: ReviewFolder) -> dict[str, float]:
    """Return the same scores where there is no evaluation yet, from maps and masks."""
    threshold = _threshold(folder)
    evidence = list(ordered_map(lambda photo: _evidence(folder, photo, threshold), folder.photos))
    scores = quality_scores(evidence)
    return {
        photo.id: score
        for photo, score in zip(folder.photos, scores, strict=True)
        if score is not None
    }


def _evidence(
    folder: ReviewFolder, photo: ReviewPhoto, threshold: float | None
) -> Mapping[str, float]:
    found: dict[str, float] = {}
    classes = len(folder.classes)
    try:
        if maps := folder.map_file(photo.id):
            found |= map_evidence(read_map(maps), threshold)
        first = folder.mask_file(photo.id, PSEUDO) or folder.mask_file(photo.id, GIVEN)
        second = folder.mask_file(photo.id, NETWORK)
        if first and second:
            tags = tuple(folder.classes.tag_id(name) for name in photo.tags)
            made, network = read_mask(first, classes), read_mask(second, classes)
            found |= network_evidence(made, network, tags, classes)
        found = pseudo_mask_evidence(found) or network_mask_evidence(found)
        for values in _confidences(folder, photo.id):
            found["confidence"] = min(found.get("confidence", 1.0), values)
    except DataError:
        pass  # such a photo is shown with its problem
    return found


def _confidences(folder: ReviewFolder, photo: str) -> Iterator[float]:
    """Yield the soft minimum of the confidences of each of a photo's masks that has them."""
    from PIL import Image

    from tag2mask.formats.pixels.opening import load_pixels, opened_image

    for masks in folder.masks.values():
        path = confidence_path(masks.parent, photo)
        if path.is_file():
            with opened_image(path, "confidence") as image:
                load_pixels(image)
                image.thumbnail((_CONFIDENCE_SIDE, _CONFIDENCE_SIDE), Image.Resampling.BOX)
                yield soft_minimum(np.asarray(image.convert("L")) / 255.0, _SHARPNESS)


def _threshold(folder: ReviewFolder) -> float | None:
    if PSEUDO not in folder.masks:
        return None
    threshold, _ = PseudoMaskFolder.open(folder.path / PseudoMaskFolder.step).background
    return threshold


def _doubtful_photos(folder: ReviewFolder) -> set[str]:
    if folder.evaluation is None:
        return set()
    scores = read_scores(Evaluation(folder.evaluation))
    return {doubt.photo for split in scores.splits for doubt in split.doubtful_tags}


def _rarity(photos: Sequence[ReviewPhoto]) -> dict[str, float]:
    counts = Counter(tag for photo in photos for tag in photo.tags)
    least = min(counts.values(), default=1)
    return {
        photo.id: max((least / counts[tag] for tag in photo.tags), default=0.0) for photo in photos
    }


def training_photos(folder: ReviewFolder) -> list[ReviewPhoto]:
    """Return the photos whose corrections teach the network; all of a folder of predictions."""
    return [photo for photo in folder.photos if photo.split in ("train", "")]
