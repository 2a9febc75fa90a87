"""A check for photos of 10, 12 or 14 bits in 16-bit files, which are read as almost black."""

from __future__ import annotations

from tag2mask.data.images import used_bits
from tag2mask.data.inventory import DataProblem, Inventory
from tag2mask.data.inventory_check import describe_photos
from tag2mask.errors import Tag2MaskError

_SUFFIXES = (".png", ".tif", ".tiff")
"""Suffixes of files that may have 16 bits."""
_SAMPLED = 16
"""Number of photos that are looked at."""
_MOST_BITS = 14
"""Among several photos with more bits, one nearly always uses them."""


def dark_photo_problems(inventory: Inventory) -> list[DataProblem]:
    """Return a warning if the 16-bit photos among a sample leave their highest bits unused."""
    entries = [
        entry
        for entry in inventory.entries
        if entry.image is not None and entry.image.lower().endswith(_SUFFIXES)
    ]
    step = max(1, len(entries) // _SAMPLED)
    dark = []
    most = 0
    for entry in entries[::step][:_SAMPLED]:
        assert entry.image is not None
        try:
            bits = used_bits(inventory.root / entry.image)
        except Tag2MaskError:
            continue  # reported where it is read
        if bits is not None:
            most = max(most, bits)
            dark.append(entry)
    if not 0 < most <= _MOST_BITS:
        return []
    return [
        DataProblem(
            f"16-bit photos use at most {most} bits ({describe_photos(dark)}) and are read as "
            f"dark, since 65535 is white; multiply their values by {2 ** (16 - most)}, or save "
            "them with 8 bits",
            warning=True,
        )
    ]
