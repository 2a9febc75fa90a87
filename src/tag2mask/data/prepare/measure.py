"""Sizes of the listed photos and checks of their masks, read only where they are new."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tag2mask.artifacts.items import named_path
from tag2mask.artifacts.sub_folders import digits_for, sub_folder
from tag2mask.data.checks.data_folder import PHOTOS_PER_BLOCK, with_progress
from tag2mask.data.checks.masks import mask_problems, outline_misfit, read_checked_mask
from tag2mask.data.checks.photo_doubts import photo_doubts
from tag2mask.data.images import image_size
from tag2mask.data.index import MaskRow, Sample, all_samples
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry
from tag2mask.data.prepare.index_changes import PreparedIndex, Samples
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError
from tag2mask.runtime.threads import ordered_map

DRAWN_FOLDER = "coco-masks"
"""Folder of masks drawn from outlines, in that of ``prepare``."""


class _Measured(NamedTuple):
    """Size of a photo and values in its mask, or what is wrong with one of them."""

    size: tuple[int, int] | None = None
    """None: the photo is missing, which the layout's reader reports."""
    mask_values: tuple[int, ...] | None = None
    """None: no mask, or one that is drawn from outlines."""
    problem: DataProblem | None = None
    misfit: str = ""
    """Why outlines don't fit the photo; it then has no mask."""


def measure_photos(
    inventory: Inventory, before: PreparedIndex | None
) -> tuple[Samples, list[MaskRow], list[DataProblem]]:
    """Read the sizes of photos and check their masks.

    Args:
        inventory: the data as listed.
        before: an index of the same data; what it knows isn't read again.

    Returns:
        The photos of each split, one row per photo with a mask, and the problems found. A photo
        with an error is in neither.
    """
    measure = _Measuring(inventory, before)
    samples: Samples = {split: [] for split in SPLITS}
    masks: list[MaskRow] = []
    problems: list[DataProblem] = []
    mask_values: list[tuple[InventoryEntry, tuple[int, ...]]] = []
    misfits: list[str] = []
    digits = digits_for(e.id for e in inventory.entries if e.mask is None and e.mask_stamp)
    measured = ordered_map(measure, inventory.entries, block=PHOTOS_PER_BLOCK)
    shown = with_progress(measured, inventory, "prepare")
    for entry, found in zip(inventory.entries, shown, strict=True):
        if found.problem is not None:
            problems.append(found.problem)
        elif found.size is not None:
            samples[entry.split].append(listed_sample(inventory, entry, found.size))
            if found.misfit:
                misfits.append(found.misfit)
            elif entry.mask_stamp:
                masks.append(_mask_row(entry, found.mask_values, digits))
            if found.mask_values is not None:
                mask_values.append((entry, found.mask_values))
    problems += mask_problems(inventory, mask_values, misfits) + photo_doubts(inventory)
    return samples, masks, problems


def listed_sample(inventory: Inventory, entry: InventoryEntry, size: tuple[int, int]) -> Sample:
    """Return a listed photo that exists, with its size (h, w) in px."""
    assert entry.image is not None
    names = inventory.class_names
    tags = tuple(sorted({names.index(tag) for tag in entry.tags if tag in names}))
    return Sample(entry.id, inventory.root / entry.image, size, tags, entry.stamp, entry.group)


def _mask_row(entry: InventoryEntry, values: tuple[int, ...] | None, digits: int) -> MaskRow:
    """Return the row of a mask; a drawn one is in a sub-folder where they are very many."""
    drawn = sub_folder(Path(DRAWN_FOLDER), entry.id, digits)
    return MaskRow(
        id=entry.id,
        mask=entry.mask or named_path(drawn, entry.id, ".png").as_posix(),
        drawn=entry.mask is None,
        stamp=entry.mask_stamp,
        values=values,
    )


class _Measuring:
    """Measures photos and masks that an earlier index doesn't know."""

    def __init__(self, inventory: Inventory, before: PreparedIndex | None) -> None:
        self._inventory = inventory
        self._sizes: dict[tuple[str, str], tuple[int, int]] = {}
        self._mask_values: dict[tuple[str, str, str], tuple[int, ...] | None] = {}
        self._drawn: set[tuple[str, str]] = set()
        if before is None or before.root != inventory.root:
            return
        self._sizes = {(s.id, s.stamp): s.size for s in all_samples(before.samples)}
        self._drawn = {(r.id, r.stamp) for r in before.masks if r.drawn}
        if before.class_names == inventory.class_names:
            self._mask_values = {(r.id, r.mask, r.stamp): r.values for r in before.masks}

    def __call__(self, entry: InventoryEntry) -> _Measured:
        if entry.image is None:
            return _Measured()
        size = self._sizes.get((entry.id, entry.stamp))
        is_known = size is not None
        if size is None:
            try:
                size = image_size(self._inventory.root / entry.image)
            except DataError as error:
                return _Measured(
                    problem=DataProblem(f"photo {entry.id!r}: {error}", photo=entry.id)
                )
        if entry.mask is None:
            fits = is_known and (entry.id, entry.mask_stamp) in self._drawn
            misfit = "" if fits else outline_misfit(self._inventory, entry, size)
            return _Measured(size, misfit=misfit)
        values = self._mask_values.get((entry.id, entry.mask, entry.mask_stamp))
        if is_known and values is not None:
            return _Measured(size, values)
        mask = read_checked_mask(self._inventory, entry, size)
        assert mask is not None
        if isinstance(mask, DataProblem):
            return _Measured(problem=mask)
        return _Measured(size, tuple(sorted(mask.values)))
