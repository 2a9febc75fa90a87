"""Checks of mask files: size and values of each, and all of them against the tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.data.checks.inventory import describe_photos
from tag2mask.data.images import stored_layout_of
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry
from tag2mask.data.layouts.listing import MASK_FOLDER, list_images
from tag2mask.data.masks import MaskContent, read_mask_content, values_in
from tag2mask.errors import DataError, counted, first_few

_TURNS = {
    5: "mirrored and turned by 90°",
    6: "turned clockwise by 90°",
    7: "mirrored and turned by 90°",
    8: "turned counterclockwise by 90°",
}
"""What viewers do with the stored pixels, by orientation."""
_MASK_FOLDERS = {
    "csv": (MASK_FOLDER,),
    "folders": (MASK_FOLDER,),
    "voc": ("SegmentationClass", "SegmentationClassAug"),
}
"""Folders of masks by layout."""
_NOTES = frozenset({"", ".db", ".ini", ".md", ".txt"})
"""Suffixes of files that are not masks."""


def read_checked_mask(
    inventory: Inventory, entry: InventoryEntry, size: tuple[int, int]
) -> MaskContent | DataProblem | None:
    """Read what a photo's mask holds, or return what is wrong with its size, kind or values.

    Args:
        inventory: the entry's inventory.
        entry: a photo; without a mask, the result is None, and where its outlines don't fit it.
        size: the photo's (h, w).
    """
    try:
        if entry.mask is not None:
            mask = read_mask_content(inventory.root / entry.mask, len(inventory.class_names))
        elif entry.mask_stamp and inventory.mask_drawer is not None:
            if outline_misfit(inventory, entry, size):
                return None
            drawn = inventory.mask_drawer.draw(entry.id, size)
            mask = MaskContent((drawn.shape[0], drawn.shape[1]), values_in(drawn))
        else:
            return None
    except DataError as error:
        return DataProblem(f"mask of photo {entry.id!r}: {error}")
    if mask.size != size:
        return DataProblem(
            f"mask of photo {entry.id!r} has a different size: mask {mask.size[1]}x{mask.size[0]}, "
            f"photo {size[1]}x{size[0]} px [{entry.mask or entry.where}]; "
            f"{_turned_photo(inventory, entry, mask.size) or 'replace one of the two'}"
        )
    return mask


def _turned_photo(inventory: Inventory, entry: InventoryEntry, size: tuple[int, int]) -> str | None:
    """Return what to do with a mask of ``size`` (h, w) if it fits the photo's stored pixels."""
    assert entry.image is not None
    stored, orientation = stored_layout_of(inventory.root / entry.image)
    if orientation not in _TURNS or size != stored:
        return None
    return (
        f"it fits the photo's stored pixels, which viewers show {_TURNS[orientation]} (EXIF "
        f"orientation {orientation}): turn the mask the same way, or save the photo upright "
        "without the orientation, and check the masks of all photos that have one"
    )


def outline_misfit(inventory: Inventory, entry: InventoryEntry, size: tuple[int, int]) -> str:
    """Return why the outlines of a photo of ``size`` (h, w) can't be its own; empty: they may be.

    Such a photo has no mask; training needs none.
    """
    if inventory.mask_drawer is None or entry.mask is not None or not entry.mask_stamp:
        return ""
    return inventory.mask_drawer.misfit(entry.id, size)


def mask_problems(
    inventory: Inventory,
    mask_values: Iterable[tuple[InventoryEntry, Collection[int]]],
    misfits: Sequence[str],
) -> list[DataProblem]:
    """Return warnings of what the masks as a whole lack.

    Args:
        inventory: the data.
        mask_values: photos with the values in their masks.
        misfits: why outlines don't fit their photos (see `outline_misfit`).
    """
    problems = _against_tags(inventory, mask_values) + _no_images(inventory)
    if misfits:
        count = counted(len(misfits), "photo has", "photos have")
        message = (
            f"{count} no mask, since the outlines or the mask file don't fit: "
            f"{first_few(misfits, 3)}; correct them or the photos if the masks are needed"
        )
        problems.append(DataProblem(message, warning=True))
    return problems


def _against_tags(
    inventory: Inventory, mask_values: Iterable[tuple[InventoryEntry, Collection[int]]]
) -> list[DataProblem]:
    """Return warnings where masks and tags contradict each other."""
    ids = {name: mask_id(tag) for tag, name in enumerate(inventory.class_names)}
    unlabeled: list[InventoryEntry] = []
    empty: list[InventoryEntry] = []
    untagged: list[InventoryEntry] = []
    for entry, values in mask_values:
        classes = set(values) - {BACKGROUND, IGNORE}
        if classes - {ids[tag] for tag in entry.tags if tag in ids}:
            untagged.append(entry)
        elif not classes and entry.tags and (entry.mask is not None or IGNORE not in values):
            (unlabeled if IGNORE in values else empty).append(entry)
    likely = f"; if it is {inventory.class_names[0]!r} here, write 1" if len(ids) == 1 else ""
    warnings = [
        (
            "masks of tagged photos have 255 but no class",
            unlabeled,
            f": 255 means not labeled; write 1, 2, ... for the classes{likely}",
        ),
        (
            "masks of tagged photos are 0 (background) everywhere",
            empty,
            ": scores would count each pixel of these tags as wrong; write 1, 2, ... for the "
            "classes, or remove masks that are not drawn yet",
        ),
        (
            "masks show classes that the tags lack",
            untagged,
            "; correct the tags or the masks",
        ),
    ]
    return [
        DataProblem(f"{what} ({describe_photos(entries)}){fix}", warning=True)
        for what, entries, fix in warnings
        if entries
    ]


def _no_images(inventory: Inventory) -> list[DataProblem]:
    """Return a warning of files among the masks that are not read."""
    files: list[str] = []
    for folder in _MASK_FOLDERS.get(inventory.layout, ()):
        list_images(inventory.root, folder, other_files=files)
    unread = [name for name in files if Path(name).suffix.lower() not in _NOTES]
    if not unread:
        return []
    count = counted(len(unread), "file", "files")
    return [
        DataProblem(
            f"{count} in the folder of masks not used, since only images are: "
            f"{first_few(unread)}; write masks as one-channel PNGs of class numbers",
            warning=True,
        )
    ]
