"""Compare corrections with the data: photos, tags, classes and masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.data.checks.inventory import describe_photos
from tag2mask.data.corrections.decisions import DECISIONS, Decision
from tag2mask.data.corrections.folder import CLASSES, Corrections
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry
from tag2mask.data.masks import read_mask_content
from tag2mask.errors import DataError, counted, first_few, nearest_hint
from tag2mask.runtime.threads import ordered_map

Size = tuple[int, int]


def check_same_classes(corrections: Corrections, names: Sequence[str]) -> None:
    """Check that masks were drawn with the classes of the data.

    Raises:
        DataError: they have other class numbers.
    """
    own = corrections.class_names
    if own is not None and own != tuple(names):
        raise DataError(
            f"the corrections are of the classes {first_few(own)}, the data has {first_few(names)}",
            where=corrections.path,
            fix="Give the corrections of this data, or number the classes of the masks again and "
            f"correct {CLASSES}.",
        )


def with_corrections(inventory: Inventory, corrections: Corrections) -> Inventory:
    """Return an inventory with the corrected tags, and the problems of decisions.

    Args:
        inventory: the data as listed, with its splits.
        corrections: what a person decided.

    Raises:
        DataError: they are of other classes.
    """
    if not corrections.decisions:
        return inventory
    check_same_classes(corrections, inventory.class_names)
    entries = tuple(_with_tags(entry, corrections) for entry in inventory.entries)
    problems = (*_unknown_photos(inventory, corrections), *_unknown_tags(inventory, corrections))
    return replace(
        inventory,
        entries=entries,
        problems=(*inventory.problems, *problems),
        corrections=corrections,
    )


def correction_problems(
    corrections: Corrections, sizes: Mapping[str, Size], inventory: Inventory
) -> list[DataProblem]:
    """Return what is wrong with the masks that were drawn or accepted.

    Args:
        corrections: what a person decided.
        sizes: (h, w) px of the data's readable photos, by id.
        inventory: the data, with the corrected tags.
    """
    masks, classes = corrections.masks(), len(inventory.class_names)
    missing = [
        DataProblem(
            f"photo {photo!r} was {'accepted' if own.verdict == 'good' else 'corrected'}, but its "
            f"mask is missing [{corrections.mask_file(photo)}]; put it there, or add another "
            f"decision about the photo to {DECISIONS}"
        )
        for photo, own in corrections.decisions.items()
        if photo in sizes and photo not in masks and _needs_mask(own)
    ]

    def check(photo: str) -> DataProblem | frozenset[int]:
        try:
            found = read_mask_content(masks[photo], classes)
        except DataError as error:
            return DataProblem(f"drawn or accepted mask of photo {photo!r}: {error}")
        if found.size == sizes[photo]:
            return found.values if found.values - {IGNORE} else _void(photo, corrections)
        (height, width), (photo_height, photo_width) = found.size, sizes[photo]
        return DataProblem(
            f"drawn or accepted mask of photo {photo!r} has a different size: mask "
            f"{width}x{height}, photo {photo_width}x{photo_height} px [{masks[photo]}]; draw it "
            "again, or delete the decision"
        )

    known = [photo for photo in masks if photo in sizes]
    checked = dict(zip(known, ordered_map(check, known), strict=True))
    wrong = [found for found in checked.values() if isinstance(found, DataProblem)]
    values = {photo: own for photo, own in checked.items() if not isinstance(own, DataProblem)}
    return missing + wrong + _untagged(values, inventory)


def _needs_mask(decision: Decision) -> bool:
    """Return whether a decision is about a mask of its own, not one that the run makes."""
    return decision.verdict == "corrected" or (decision.verdict == "good" and bool(decision.mask))


def _untagged(values: Mapping[str, frozenset[int]], inventory: Inventory) -> list[DataProblem]:
    """Return a warning of masks with classes that their photos aren't tagged with."""
    ids = {name: mask_id(tag) for tag, name in enumerate(inventory.class_names)}
    untagged = [
        entry
        for entry in inventory.entries
        if values.get(entry.id, frozenset())
        - {BACKGROUND, IGNORE, *(ids[tag] for tag in entry.tags if tag in ids)}
    ]
    if not untagged:
        return []
    return [
        DataProblem(
            "drawn or accepted masks show classes that the tags lack "
            f"({describe_photos(untagged)}); correct the tags or the masks",
            warning=True,
        )
    ]


def _void(photo: str, corrections: Corrections) -> DataProblem:
    return DataProblem(
        f"drawn or accepted mask of photo {photo!r} is {IGNORE} (not labeled) everywhere "
        f"[{corrections.mask_file(photo)}]; write {BACKGROUND} for the background and 1, 2, "
        "... for the classes",
        warning=True,
    )


def _with_tags(entry: InventoryEntry, corrections: Corrections) -> InventoryEntry:
    own = corrections.decisions.get(entry.id)
    if own is None or not (own.tags_added or own.tags_removed):
        return entry
    kept = tuple(tag for tag in entry.tags if tag not in own.tags_removed)
    added = tuple(tag for tag in own.tags_added if tag not in kept)
    return entry._replace(tags=(*kept, *added))


def _unknown_photos(inventory: Inventory, corrections: Corrections) -> list[DataProblem]:
    """Return a warning of decisions about photos that left the data; an error where all are."""
    known = {entry.id for entry in inventory.entries}
    gone = [photo for photo in corrections.decisions if photo not in known]
    if not gone:
        return []
    count = counted(len(gone), "correction is of a photo", "corrections are of photos")
    every = len(gone) == len(corrections.decisions)
    return [
        DataProblem(
            f"{count} that the data doesn't have ({first_few(gone, 3)}) [{corrections.path}]; "
            + ("give the corrections of this data" if every else "they are kept and not used"),
            warning=not every,
        )
    ]


def _unknown_tags(inventory: Inventory, corrections: Corrections) -> Iterable[DataProblem]:
    """Return a problem for each decision about a class that the data doesn't have.

    Adding one is an error; removing one is a warning, since the class may have left the data.
    """
    names = set(inventory.class_names)
    for photo, own in corrections.decisions.items():
        for tag in own.tags_added:
            if tag not in names:
                yield DataProblem(
                    f"correction of photo {photo!r} adds the tag {tag!r}, which is no class"
                    f"{nearest_hint(tag, names)} [{corrections.path / DECISIONS}]; correct the "
                    "line, or add the class to the data"
                )
        for tag in own.tags_removed:
            if tag not in names:
                yield DataProblem(
                    f"correction of photo {photo!r} removes the tag {tag!r}, which is no class"
                    f"{nearest_hint(tag, names)} [{corrections.path / DECISIONS}]; nothing follows",
                    warning=True,
                )
