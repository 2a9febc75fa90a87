"""Label maps for training and validating a segmentation network: pseudo masks or ground truth.

Masks that were drawn or accepted in corrections replace pseudo masks.

Ground truth is only listed by `labeled_by_hand` and `validation_photos`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder
from tag2mask.artifacts.items import SkippedItems
from tag2mask.data.corrections.folder import NO_CORRECTIONS, Corrections, corrections_of
from tag2mask.data.index import Sample, read_classes, read_index, read_mask_paths
from tag2mask.data.masks import mask_path
from tag2mask.errors import DataError
from tag2mask.maps.mapped_photos import check_classes


@dataclass(frozen=True)
class LabeledPhotos:
    """Training photos with label maps.

    Attributes:
        samples: the photos, in the order of the index.
        labels: their label maps by photo id.
        without: ids of the training photos without a label map.
        sure: ids of the photos whose masks were drawn or accepted.
        bad: ids of the training photos that a person left out.
        corrections: what a person decided.
    """

    samples: list[Sample]
    labels: Mapping[str, Path]
    without: list[str]
    sure: frozenset[str] = frozenset()
    bad: tuple[str, ...] = ()
    corrections: Corrections = NO_CORRECTIONS

    def counts(self, samples: Sequence[Sample]) -> dict[str, int]:
        """Count masks that were drawn, imported, accepted and made; empty without corrections."""
        if not self.corrections.decisions:
            return {}
        counts = self.corrections.counts({sample.id for sample in samples})
        return {**counts, "made": len(samples) - sum(counts.values())}


def pseudo_labeled(data: PreparedData, masks: PseudoMaskFolder) -> LabeledPhotos:
    """Return the training photos with pseudo masks, or with the masks of corrections.

    A photo without a mask must be listed as skipped in the manifest of the masks. Photos that a
    person called bad are left out.

    Args:
        data: the photos.
        masks: their pseudo masks.

    Raises:
        DataError: a photo's mask is missing, or all are; masks of other classes.
    """
    check_classes(masks, read_classes(data.path).names, "pseudo masks")
    left_out = SkippedItems(masks.manifest.skipped)
    corrections = corrections_of(data.path)
    drawn, bad = corrections.masks(), set(corrections.bad)
    photos = read_index(data.path, "train")
    samples: list[Sample] = []
    without: list[str] = []
    labels: dict[str, Path] = {}
    for sample in photos:
        if sample.id in bad:
            continue
        mask = drawn.get(sample.id) or mask_path(masks.path, sample.id)
        if mask.is_file():
            samples.append(sample)
            labels[sample.id] = mask
        elif sample.id in left_out:
            without.append(sample.id)
        else:
            raise DataError(
                f"photo {sample.id!r} has no pseudo mask",
                where=masks.path,
                fix="Run pseudo-masks on this data, or give the masks that belong to it.",
            )
    if not samples:
        raise DataError(
            "no training photo has a pseudo mask",
            where=masks.path,
            fix="Every one was left out, by an earlier step, whose messages say why, or as bad in "
            "the corrections.",
        )
    return LabeledPhotos(
        samples,
        labels,
        without,
        sure=frozenset(corrections.sure).intersection(labels),
        bad=tuple(sample.id for sample in photos if sample.id in bad),
        corrections=corrections,
    )


def labeled_by_hand(data: PreparedData) -> LabeledPhotos:
    """Return the training photos with ground truth.

    Raises:
        DataError: no training photo has a mask.
    """
    masks = read_mask_paths(data.path)
    photos = read_index(data.path, "train")
    samples = [sample for sample in photos if sample.id in masks]
    if not samples:
        raise no_training_masks(data.path)
    return LabeledPhotos(
        samples,
        {sample.id: masks[sample.id] for sample in samples},
        [sample.id for sample in photos if sample.id not in masks],
    )


def validation_photos(folder: Path) -> tuple[list[Sample], Mapping[str, Path]]:
    """Return the validation photos with ground truth, and the paths of their masks by photo id.

    Args:
        folder: the folder ``prepare/``.

    Raises:
        DataError: no validation photo has a mask.
    """
    masks = read_mask_paths(folder)
    samples = [sample for sample in read_index(folder, "val") if sample.id in masks]
    if not samples:
        raise no_validation_masks(folder)
    return samples, masks


def no_training_masks(where: Path) -> DataError:
    """Return the error for supervised training without masks."""
    return DataError(
        "no training photo has a mask to train on",
        where=where,
        fix="Set train_segmenter.masks=pseudo, or give masks in the data folder.",
    )


def no_sure_masks(where: Path) -> DataError:
    """Return the error for a mixture without a drawn or accepted mask."""
    return DataError(
        "train_segmenter.masks is mixed, and no training photo has a drawn or accepted mask",
        where=where,
        fix="Give corrections with --corrections, or set train_segmenter.masks=pseudo.",
    )


def no_validation_masks(where: Path) -> DataError:
    """Return the error for validation without masks."""
    return DataError(
        "no validation photo has a mask to validate on",
        where=where,
        fix="Set train_segmenter.validate_epochs=0, or give masks of the validation split.",
    )
