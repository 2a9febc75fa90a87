"""Folders of masks: of a run, of one of its steps, or of PNGs with a list of classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import (
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
)
from tag2mask.artifacts.journal import recorded_items
from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.artifacts.step_table import STEP_NAMES
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import DECISIONS
from tag2mask.data.corrections.folder import CORRECTIONS, read_corrections
from tag2mask.data.index import data_root, read_classes, read_index
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.listing import CLASS_LIST, list_images, read_class_file
from tag2mask.data.masks import mask_path, read_mask
from tag2mask.data.photo_files import list_photos
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError, ProblemsError, RunFolderError, counted
from tag2mask.evaluation.evidence import NETWORK_QUALITY, QUALITY
from tag2mask.evaluation.photo_rows import photo_qualities
from tag2mask.evaluation.records import PHOTOS
from tag2mask.formats.pixels.opening import opened_image

_KINDS: dict[str, type[Handle]] = {kind.step: kind for kind in (Predictions, PseudoMaskFolder)}
_MASKS = "masks"


@dataclass(frozen=True, slots=True)
class SourceMask:
    """One mask that has not been opened.

    Attributes:
        id: relative path without suffix, ``/`` as separator.
        path: the file.
        photo: its photo; None: unknown.
        listed: (h, w) px of its photo; None: unknown.
        split: ``train`` or ``val``; None: unknown.
        score: its quality score; None: unknown.
    """

    id: str
    path: Path
    photo: Path | None = None
    listed: tuple[int, int] | None = None
    split: str | None = None
    score: float | None = None

    def size(self) -> tuple[int, int]:
        """Return (h, w) px of the mask, from the photo's listing or the mask's header.

        Raises:
            DataError: missing or no image.
        """
        if self.listed is not None:
            return self.listed
        with opened_image(self.path, "mask") as image:
            return image.height, image.width

    def read(self, num_classes: int) -> NDArray[np.uint8]:
        """Return the mask, uint8 (h, w).

        Raises:
            DataError: missing, damaged, of other classes, or of another size than its photo.
        """
        mask = read_mask(self.path, num_classes)
        if self.listed not in (None, mask.shape):
            raise DataError(
                f"the mask is {mask.shape[1]}x{mask.shape[0]} px, its photo "
                f"{self.size()[1]}x{self.size()[0]}",
                where=self.path,
                fix="Run the step that wrote it again, or correct the mask.",
            )
        return mask


@dataclass(frozen=True)
class MaskSource:
    """A folder of masks.

    Attributes:
        folder: the folder.
        what: the step that wrote it, ``corrections`` or ``masks``.
        classes: its classes.
        masks: its masks, sorted by split and id.
        data: the data folder of the photos; None: unknown.
        without: photos of the data that have no mask in it.
    """

    folder: Path
    what: str
    classes: ClassSet
    masks: tuple[SourceMask, ...]
    data: Path | None = None
    without: tuple[str, ...] = ()


def open_masks(
    source: Path,
    *,
    of: str | None = None,
    photos: Path | None = None,
    classes: Path | None = None,
    otherwise: ClassSet | None = None,
) -> MaskSource:
    """List the masks of a folder.

    Args:
        source: a run, a folder of ``predict`` or ``pseudo-masks``, corrections, or a folder of PNGs
            whose values are mask ids.
        of: which masks of a run; None: ``predict`` where it is complete, else ``pseudo-masks``.
        photos: folder of the photos, for masks that don't name theirs.
        classes: list of classes, one name per line, for PNGs; None: ``classes.txt`` in the folder
            or beside it.
        otherwise: classes of PNGs without a list.

    Raises:
        RunFolderError: the folder is missing, unfinished or damaged.
        DataError: no mask or no class list; masks or photos that are missing.
    """
    if not source.is_dir():
        raise RunFolderError(
            "no such folder of masks",
            where=source,
            fix="Give a run, a folder of its step predict or pseudo-masks, or a folder of PNGs.",
        )
    corrected = (source / DECISIONS).is_file()
    handle = None if corrected else _step_of(source, of)
    if handle is not None:
        found = _of_step(handle)
    elif of is not None:
        raise RunFolderError(
            "this isn't a run, so --of chooses nothing", where=source, fix="Leave out --of."
        )
    elif corrected:
        found = _of_corrections(source)
    else:
        found = _of_images(source, classes, otherwise)
    return found if photos is None else _with_photos(found, photos)


def _step_of(source: Path, of: str | None) -> Handle | None:
    """Return the folder of masks that a path means; None: it has PNGs only."""
    found = read_identity(source)
    if found is not None:
        kind = _KINDS.get(found.step)
        if kind is None:
            raise RunFolderError(
                f"a folder of {found.step} holds no masks to take",
                where=source,
                fix=f"Give the run, or its {Predictions.step} or {PseudoMaskFolder.step} folder.",
            )
        return kind.open(source)
    if not any(read_identity(source / name) for name in STEP_NAMES):
        return None
    if of is None:
        complete = isinstance(read_identity(source / Predictions.step), Manifest)
        of = "predict" if complete else "pseudo-masks"
    return _KINDS[of].open(source / of)


def _of_step(handle: Handle) -> MaskSource:
    """List the masks of a step's folder."""
    manifest = handle.manifest
    prepared = prepared_of(handle)
    names = manifest.metrics.get("classes", ())
    if prepared is None and not names:
        raise RunFolderError(
            f"the {PreparedData.step} folder of these masks is missing, which has their classes",
            where=handle.path,
            fix="Put it back, or give the folder of the PNGs with --classes.",
        )
    classes = read_classes(prepared.path) if prepared is not None else ClassSet(tuple(names))
    ids = recorded_items(handle.path)
    masks = [SourceMask(id, mask_path(handle.path, id)) for id in ids]
    if lost := [mask.id for mask in masks if not mask.path.is_file()]:
        raise ProblemsError(
            f"{len(lost)} masks of {handle.step} are missing",
            lost,
            where=handle.path,
            fix=f"Run `tag2mask {handle.step}` again: it makes the missing ones only.",
        )
    without: list[str] = []
    if prepared is not None:
        masks, without = _with_index(masks, prepared.path)
    key = NETWORK_QUALITY if isinstance(handle, Predictions) else QUALITY
    masks = _with_scores(masks, handle.path.parent / Evaluation.step / PHOTOS, key)
    root = None if prepared is None else data_root(prepared.path)
    return MaskSource(handle.path, handle.step, classes, _sorted(masks), root, tuple(without))


def _of_corrections(folder: Path) -> MaskSource:
    """List the masks that people drew or accepted, with the photos of the run around them."""
    corrections = read_corrections(folder)
    if corrections.class_names is None:
        raise DataError(
            "the classes of these corrections aren't recorded",
            where=folder,
            fix="Give their masks/ with --classes FILE.",
        )
    masks = [SourceMask(id, path) for id, path in corrections.masks().items()]
    if not masks:
        raise DataError(
            "no mask was drawn or accepted yet", where=folder, fix="Correct some first."
        )
    root = None
    prepared = folder.resolve().parent / PreparedData.step
    if isinstance(read_identity(prepared), Manifest):
        masks, _ = _with_index(masks, prepared)
        root = data_root(prepared)
    classes = ClassSet(corrections.class_names)
    return MaskSource(folder, CORRECTIONS, classes, _sorted(masks), root)


def prepared_of(handle: Handle) -> PreparedData | None:
    """Return the prepared data that masks were made of; None: they were made of any photos."""
    manifest = handle.manifest
    read = {**manifest.inputs, **manifest.coverage}.get("data")
    if read is None or read.path is None:
        return None
    folder = Path(os.path.normpath(handle.path / read.path))
    return PreparedData.open(folder) if isinstance(read_identity(folder), Manifest) else None


def _with_index(masks: Iterable[SourceMask], prepared: Path) -> tuple[list[SourceMask], list[str]]:
    """Add photos, sizes and splits; return also the ids of photos without a mask."""
    rows = {
        sample.id: (sample, split) for split in SPLITS for sample in read_index(prepared, split)
    }
    found = []
    for mask in masks:
        if mask.id in rows:
            sample, split = rows.pop(mask.id)
            mask = replace(mask, photo=sample.image, listed=sample.size, split=split)
        found.append(mask)
    return found, sorted(rows)


def _with_scores(masks: list[SourceMask], path: Path, key: str) -> list[SourceMask]:
    """Add the quality scores of a run's evaluation, where it has been made."""
    if not path.is_file():
        return masks
    scores = photo_qualities(path, key)
    return [replace(mask, score=scores.get(mask.id)) for mask in masks]


def _of_images(source: Path, classes: Path | None, otherwise: ClassSet | None) -> MaskSource:
    """List the PNGs of a folder."""
    files = list_images(source)
    masks = [SourceMask(without_suffix(file.path), source / file.path) for file in files]
    if not any(mask.path.suffix.lower() == ".png" for mask in masks):
        others = f": none of its {counted(len(masks), 'image', 'images')} is a PNG" if masks else ""
        raise DataError(
            f"no mask in the folder{others}",
            where=source,
            fix="Give a run, a folder of its step predict or pseudo-masks, or a folder of PNGs.",
        )
    names = _class_list(source, classes) or otherwise
    if names is None:
        raise DataError(
            "the classes of these masks aren't known",
            where=source,
            fix=f"Give --classes FILE with one name per line, or put {CLASS_LIST} into the folder. "
            "For masks of a run give the run's own folder.",
        )
    if twice := [id for id, count in Counter(mask.id for mask in masks).items() if count > 1]:
        raise ProblemsError(
            "several masks have the same name",
            twice,
            where=source,
            fix="Remove one of each, or rename it.",
        )
    return MaskSource(source, _MASKS, names, _sorted(masks))


def _class_list(source: Path, classes: Path | None) -> ClassSet | None:
    """Return the classes of a list that was given, or is in a folder or beside it."""
    beside = (source / CLASS_LIST, source.parent / CLASS_LIST)
    found = classes or next((path for path in beside if path.is_file()), None)
    return None if found is None else ClassSet(read_class_file(found))


def _with_photos(found: MaskSource, folder: Path) -> MaskSource:
    """Add the photos of a folder, by their paths without suffix.

    Raises:
        ProblemsError: masks without a photo.
    """
    photos = {photo.id: photo for photo in list_photos([folder])}
    if lost := [mask.id for mask in found.masks if mask.id not in photos]:
        raise ProblemsError(
            f"{len(lost)} of {len(found.masks)} masks have no photo of their name",
            lost,
            where=folder,
            fix="Give the folder that the masks' paths are relative to as --photos.",
        )
    masks = tuple(
        replace(mask, photo=photos[mask.id].path, listed=photos[mask.id].current_size())
        for mask in found.masks
    )
    return replace(found, masks=masks, data=folder)


def _sorted(masks: Iterable[SourceMask]) -> tuple[SourceMask, ...]:
    order: dict[str | None, int] = {
        None: -1,
        **{split: place for place, split in enumerate(SPLITS)},
    }
    return tuple(sorted(masks, key=lambda mask: (order[mask.split], mask.id)))
