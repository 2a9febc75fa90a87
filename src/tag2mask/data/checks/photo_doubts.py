"""Checks of a sample of the photos for what reading them loses: bits, pixels or further images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tag2mask.data.checks.inventory import describe_photos
from tag2mask.data.images import unread_parts, used_bits
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry
from tag2mask.errors import Tag2MaskError

_SUFFIXES = (".png", ".tif", ".tiff", ".gif", ".webp")
"""Suffixes of files that may have 16 bits, transparent pixels or several images."""
_SAMPLED = 16
"""Number of photos that are looked at."""
_MOST_BITS = 14
"""Among several photos with more bits, one nearly always uses them."""
_UNREAD = {
    "several images": "photos have several images in one file ({}), of which only the first is "
    "read; save each as a photo of its own if they are photos",
    "transparent": "photos are transparent everywhere ({}) and are read as white; remove their "
    "alpha channel",
}
T = TypeVar("T")


def photo_doubts(inventory: Inventory) -> list[DataProblem]:
    """Return warnings of photos, among a sample, that are not read as they look elsewhere."""
    entries = [
        entry
        for entry in inventory.entries
        if entry.image is not None and entry.image.lower().endswith(_SUFFIXES)
    ]
    step = max(1, len(entries) // _SAMPLED)
    sample = entries[::step][:_SAMPLED]
    return _dark_photos(inventory, sample) + _unread_photos(inventory, sample)


def _dark_photos(inventory: Inventory, sample: list[InventoryEntry]) -> list[DataProblem]:
    """Return a warning if 16-bit photos leave their highest bits unused."""
    found = _look(inventory, sample, used_bits)
    most = max((bits for _, bits in found), default=0)
    if not 0 < most <= _MOST_BITS:
        return []
    return [
        DataProblem(
            f"16-bit photos use at most {most} bits ({describe_photos([e for e, _ in found])}) and "
            f"are read as dark, since 65535 is white; multiply their values by {2 ** (16 - most)}, "
            "or save them with 8 bits",
            warning=True,
        )
    ]


def _unread_photos(inventory: Inventory, sample: list[InventoryEntry]) -> list[DataProblem]:
    """Return warnings of photos with a part that is not read."""
    found = _look(inventory, sample, unread_parts)
    problems = []
    for kind, message in _UNREAD.items():
        photos = [entry for entry, own in found if own == kind]
        if photos:
            problems.append(DataProblem(message.format(describe_photos(photos)), warning=True))
    return problems


def _look(
    inventory: Inventory, sample: list[InventoryEntry], what: Callable[..., T | None]
) -> list[tuple[InventoryEntry, T]]:
    """Return what a function finds in photos, where it finds something."""
    found = []
    for entry in sample:
        assert entry.image is not None
        try:
            own = what(inventory.root / entry.image)
        except Tag2MaskError:
            continue  # reported where it is read
        if own:
            found.append((entry, own))
    return found
