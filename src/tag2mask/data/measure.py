"""Sizes of the listed photos and checks of their masks, read only where they are new."""

from __future__ import annotations

from pathlib import Path

from tag2mask.artifacts.items import item_path
from tag2mask.data.check import PHOTOS_PER_BLOCK, read_checked_mask
from tag2mask.data.images import image_size
from tag2mask.data.index import MaskRow, Sample
from tag2mask.data.index_changes import PreparedIndex, Samples
from tag2mask.data.inventory import SPLITS, DataProblem, Inventory, InventoryEntry
from tag2mask.errors import DataError
from tag2mask.runtime.threads import ordered_map

DRAWN_FOLDER = "coco-masks"
"""Folder of masks drawn from outlines, in that of ``prepare``."""


def measure_photos(
    inventory: Inventory, before: PreparedIndex | None
) -> tuple[Samples, list[MaskRow], list[DataProblem]]:
    """Read the sizes of photos and check their masks.

    Args:
        inventory: the data as listed.
        before: an index of the same data; what it knows isn't read again.

    Returns:
        The photos of each split, one row per photo with a mask, and the errors found. A photo with
        an error is in neither.
    """
    tag_ids = {name: index for index, name in enumerate(inventory.class_names)}
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    checked: set[tuple[str, str, str]] = set()
    if before is not None and before.root == inventory.root:
        sizes = {(s.id, s.stamp): s.size for split in SPLITS for s in before.samples[split]}
        if before.class_names == inventory.class_names:
            checked = {(row.id, row.mask, row.stamp) for row in before.masks}

    def measure(entry: InventoryEntry) -> tuple[int, int] | DataProblem | None:
        if entry.image is None:
            return None
        size = sizes.get((entry.id, entry.stamp))
        known = size is not None
        if size is None:
            try:
                size = image_size(inventory.root / entry.image)
            except DataError as error:
                return DataProblem(f"photo {entry.id!r}: {error}", photo=entry.id)
        # Outlines are checked when they are drawn.
        unchecked = entry.mask is not None and not (
            known and (entry.id, entry.mask, entry.mask_stamp) in checked
        )
        mask = read_checked_mask(inventory, entry, size) if unchecked else None
        return mask if isinstance(mask, DataProblem) else size

    samples: Samples = {split: [] for split in SPLITS}
    masks: list[MaskRow] = []
    problems: list[DataProblem] = []
    measured = ordered_map(measure, inventory.entries, block=PHOTOS_PER_BLOCK)
    for entry, found in zip(inventory.entries, measured, strict=True):
        if isinstance(found, DataProblem):
            problems.append(found)
        elif found is not None:
            assert entry.image is not None
            tags = tuple(sorted({tag_ids[tag] for tag in entry.tags if tag in tag_ids}))
            samples[entry.split].append(
                Sample(entry.id, inventory.root / entry.image, found, tags, entry.stamp)
            )
            if entry.mask_stamp:
                masks.append(
                    MaskRow(
                        entry.id,
                        entry.mask or item_path(Path(DRAWN_FOLDER), entry.id, ".png").as_posix(),
                        entry.mask is None,
                        entry.mask_stamp,
                    )
                )
    return samples, masks, problems
