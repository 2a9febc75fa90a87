"""The data as ``prepare`` lists it: validation photos are drawn, corrections applied.

No photo is opened.
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.data.corrections.check import with_corrections
from tag2mask.data.corrections.folder import corrections_of, read_corrections
from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.prepare.index_changes import read_prepared_index
from tag2mask.data.splits import Split
from tag2mask.data.validation_draw import with_validation
from tag2mask.errors import DataChangedError
from tag2mask.recipe.sections import Prepare

VALIDATION_DRAWN = "validation_photos_drawn"
"""Metric of the manifest where validation photos were drawn."""


def list_data(
    data: Path, section: Prepare, prepared: Path | None, corrections: Path | None = None
) -> Inventory:
    """List the photos, tags and masks of a data folder; opens no photo.

    Validation photos are drawn where the data names none.

    Args:
        data: the data folder.
        section: layout, splits, source of tags, share of validation photos.
        prepared: folder of an earlier ``prepare``, whose photos keep their splits; None: none.
        corrections: folder of corrections; None: those that ``prepared`` was made with.

    Raises:
        DataError: data or corrections that can't be listed, or don't fit each other.
        DataChangedError: ``prepared`` has another share of validation photos.
    """
    options = SourceOptions.of(section)
    listed = read_inventory(data, section.source, options)
    inventory = with_validation(listed, options, lambda: _drawn_before(prepared))
    if inventory.drawn and prepared is not None:
        _check_same_fraction(section, prepared)
    if corrections is not None:
        return with_corrections(inventory, read_corrections(corrections))
    return inventory if prepared is None else with_corrections(inventory, corrections_of(prepared))


def _drawn_before(prepared: Path | None) -> dict[str, Split]:
    """Return the splits that a draw gave to photos; those that the data named don't count.

    A folder without validation photos counts: all its photos were trained on.
    """
    before = None if prepared is None else read_prepared_index(prepared)
    if prepared is None or before is None:
        return {}
    found = read_identity(prepared)
    # Without a manifest an update was interrupted, which may have drawn them.
    drawn = not isinstance(found, Manifest) or VALIDATION_DRAWN in found.metrics
    return before.splits if drawn or not before.samples["val"] else {}


def _check_same_fraction(section: Prepare, prepared: Path) -> None:
    """Raise DataChangedError where photos were drawn in another share: they would stay."""
    found = read_identity(prepared)
    used = section.val_fraction if found is None else found.section.get("val_fraction")
    if used not in (None, section.val_fraction):
        raise DataChangedError(
            f"prepare.val_fraction was {used} and is {section.val_fraction}; photos that were "
            "drawn keep their split",
            where=prepared,
            fix=f"Go back to {used}, draw again with --redo prepare, or give another --out "
            "(without --from).",
        )
