"""Masks that a run is given instead of making them: those of ``masks import`` or of another run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tag2mask.artifacts.handles import PseudoMaskFolder
from tag2mask.artifacts.items import SkippedItems
from tag2mask.artifacts.sub_folders import has_sub_folders
from tag2mask.data.images import image_size
from tag2mask.data.inventory import Inventory
from tag2mask.data.masks import mask_path
from tag2mask.errors import DataError, ProblemsError, RunFolderError, counted, first_few
from tag2mask.maps.mapped_photos import check_classes


def open_given_masks(folder: Path) -> PseudoMaskFolder:
    """Return the handle of a folder of masks.

    Raises:
        RunFolderError: it is missing, unfinished, or no such folder.
    """
    try:
        return PseudoMaskFolder.open(folder)
    except RunFolderError as error:
        raise RunFolderError(
            f"masks of a run: {error.what}",
            where=folder,
            fix="Give a folder that `tag2mask masks import` wrote, or the pseudo-masks folder of a "
            "run. Masks of people and of other tools are taken in by `tag2mask masks import`.",
        ) from None


def check_given_masks(folder: Path, inventory: Inventory) -> None:
    """Check that masks are of the photos, sizes and classes of the data.

    Training photos that were skipped when the masks were made need none, nor do those whose masks
    are corrections.

    Raises:
        RunFolderError: as `open_given_masks`.
        DataError: masks of other classes, or of no training photo.
        ProblemsError: naming every photo whose mask is missing or has another size.
    """
    masks = open_given_masks(folder)
    check_classes(masks, inventory.class_names, "masks")
    if problems := list(_problems(masks, inventory)):
        raise ProblemsError(
            f"masks that don't fit the data: {counted(len(problems), 'photo', 'photos')}",
            problems,
            where=folder,
            fix="Give masks of these photos, or take them in again with `tag2mask masks import`.",
        )
    sure = () if inventory.corrections is None else inventory.corrections.sure
    training = {entry.id for entry in inventory.entries if entry.split == "train"}
    if not any(mask_path(masks.path, photo_id).is_file() for photo_id in training) and not (
        training & set(sure)
    ):
        raise DataError(
            "no training photo has a mask", where=folder, fix="Give masks of training photos."
        )


def unused_masks_warnings(folder: Path, inventory: Inventory) -> tuple[str, ...]:
    """Return a warning of masks whose photos the data lacks, if there are any."""
    place = open_given_masks(folder).path / "masks"
    ids = {entry.id for entry in inventory.entries}
    places = place.glob("*/") if has_sub_folders(place.parent) else [place]
    found = (
        path.relative_to(inner).with_suffix("").as_posix()
        for inner in places
        for path in inner.rglob("*.png")
    )
    unused = sorted(photo_id for photo_id in found if photo_id not in ids)
    if not unused:
        return ()
    what = counted(len(unused), "given mask is", "given masks are")
    return (f"{what} of no photo of the data: {first_few(unused, 3)}",)


def _problems(masks: PseudoMaskFolder, inventory: Inventory) -> Iterator[str]:
    """Yield the training photos without a mask, and the photos whose mask has another size."""
    skipped = SkippedItems(masks.manifest.skipped)
    corrections = inventory.corrections
    decided = set() if corrections is None else {*corrections.sure, *corrections.bad}
    for entry in inventory.entries:
        if entry.image is None:
            continue  # prepare reports it
        mask = mask_path(masks.path, entry.id)
        if mask.is_file():
            with suppress(DataError):  # prepare reports the photo, and the training the mask
                (h, w), (mask_h, mask_w) = (
                    image_size(inventory.root / entry.image),
                    image_size(mask),
                )
                if (h, w) != (mask_h, mask_w):
                    yield f"photo {entry.id!r} is {w}x{h} px, its mask {mask_w}x{mask_h}"
        elif entry.split == "train" and entry.id not in skipped and entry.id not in decided:
            yield f"photo {entry.id!r} has no mask"
