"""What was understood of a data folder, in five lines: printed before hours are spent on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.listing import MASK_FOLDER
from tag2mask.data.layouts.splits import usual_split
from tag2mask.data.remote.listing import GivenPhoto
from tag2mask.data.splits import SPLITS
from tag2mask.errors import first_few

SHOWN = 8
"""Classes and notes that are named at most."""


def understood(
    inventory: Inventory,
    options: SourceOptions,
    mask_values: Sequence[Collection[int] | None] | None = None,
) -> tuple[str, ...]:
    """Return five lines: layout, photos, classes, masks, and notes on guesses and what is not used.

    Args:
        inventory: the data as listed.
        options: the splits that were asked for.
        mask_values: the values in each mask, None for one that exists as outlines, which aren't
            drawn yet; None instead of a list: no mask was opened.
    """
    return (
        f"layout: {_layout(inventory)}",
        f"photos: {_photos(inventory)}",
        f"classes: {_classes(inventory)}",
        f"masks: {_masks(inventory, mask_values)}",
        f"notes: {_notes(inventory, options)}",
    )


def understood_photos(
    photos: Sequence[GivenPhoto],
    skipped: Sequence[str],
    network: Path,
    class_names: Sequence[str],
    masks: Path,
) -> tuple[str, ...]:
    """Return what was understood of photos to predict: photos, skipped files, network, classes.

    Args:
        photos: the photos, from `list_given_photos`.
        skipped: files and folders that are not photos.
        network: the network's file.
        class_names: the network's foreground classes.
        masks: the folder that masks are written to.
    """
    unusable = sum(photo.problem is not None for photo in photos)
    return (
        f"photos: {len(photos)}" + (f"; {unusable} with unusable names" if unusable else ""),
        f"skipped: {first_few(skipped, SHOWN) or 'nothing'}",
        f"network: {network}",
        f"classes: {len(class_names)}: {first_few(class_names, SHOWN)}",
        f"masks: {masks}, named after the photos; 0 is background, 1 to {len(class_names)} classes",
    )


def _layout(inventory: Inventory) -> str:
    sources = [f"tags from {inventory.tag_source}"] if inventory.tag_source else []
    sources += [f"class names from {inventory.class_list}"] if inventory.class_list else []
    return f"{inventory.layout}, {inventory.root}" + (f" ({', '.join(sources)})" if sources else "")


def _photos(inventory: Inventory) -> str:
    counts = Counter(entry.split for entry in inventory.entries)
    untagged = sum(not entry.tags for entry in inventory.entries)
    parts = [f"{counts[split]} {split}" for split in SPLITS if counts[split]]
    return f"{', '.join(parts) or 'none'}; {untagged} without tags"


def _classes(inventory: Inventory) -> str:
    train = [entry for entry in inventory.entries if entry.split == "train"]
    counts = Counter(tag for entry in train for tag in set(entry.tags))
    names = inventory.class_names
    if not names:
        return "none"
    return f"{len(names)}, by training photos: " + first_few(
        (f"{name} {counts[name]}" for name in names), SHOWN
    )


def _mask_name(inventory: Inventory) -> str:
    """Return the file in which a mask of the first photo would be found, for a message."""
    first = next((entry for entry in inventory.entries if entry.image), None)
    if first is None or inventory.layout not in ("csv", "folders"):
        return ""
    return f"; that of {first.image} would be {MASK_FOLDER}/{first.id}.png"


def _masks(inventory: Inventory, mask_values: Sequence[Collection[int] | None] | None) -> str:
    listed = sum(bool(entry.mask_stamp) for entry in inventory.entries)
    count = listed if mask_values is None else len(mask_values)
    if not count:
        return f"none, which only scores need{_mask_name(inventory)}"
    text = f"{count} of {len(inventory.entries)} photos have one"
    if mask_values is None:
        return f"{text}; not opened yet"
    read = [values for values in mask_values if values is not None]
    if not read:
        return f"{text}, to be drawn from outlines"
    numbers = Counter(value for values in read for value in values)
    names = ("background", *inventory.class_names)
    known = [names[value] for value in sorted(numbers) if value < len(names)]
    text += f"; showing {first_few(known, SHOWN)}" if known else ""
    alone = sum(set(values) <= {BACKGROUND, IGNORE} for values in read)
    text += f"; 255 (not labeled) in {numbers[IGNORE]}" if numbers[IGNORE] else ""
    return text + (f"; no class in {alone}" if alone else "")


def _notes(inventory: Inventory, options: SourceOptions) -> str:
    requested = [name for name in (options.train_split, options.val_split) if name is not None]
    used = {*requested, *(split for name in requested if (split := usual_split(name)))}
    unused = [s for s in inventory.found_splits if s not in used and usual_split(s) not in used]
    lists = any(name.endswith(".txt") for name in requested)
    notes = list(inventory.remarks)
    if unused and not lists:
        notes.insert(0, f"splits not used: {first_few(unused)}")
    return "; ".join(notes) or "nothing was guessed or skipped"
