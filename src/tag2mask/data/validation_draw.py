"""Draw validation photos where the data names none.

Photos of one group stay together, and each class has about the same share in validation: iterative
stratification (Sechidis, Tsoumakas and Vlahavas, ECML 2011), in an order that only the names of the
groups decide. Photos that were drawn before keep their split, whatever is added.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.splits import Split
from tag2mask.errors import counted
from tag2mask.recipe.sections import Prepare

_NO_TAG = "\0"
"""Stands for the photos without a tag, which are a share of their own."""


def with_validation(
    inventory: Inventory, options: SourceOptions, known: Callable[[], Mapping[str, Split]]
) -> Inventory:
    """Return an inventory with validation photos drawn, if the data names none.

    Args:
        inventory: the data as listed.
        options: ``val_fraction`` is the share of the groups to draw; None: leave the inventory. Its
            default gives way to the inventory's own.
        known: returns the splits of photos that were drawn before, by id; called only for a draw.
    """
    fraction = options.val_fraction
    if fraction is None or options.val_split is None:
        return inventory
    if inventory.val_fraction is not None and fraction == Prepare().val_fraction:
        fraction = inventory.val_fraction
    named = sum(entry.split == "val" for entry in inventory.entries)
    if named:
        return _with_problems(inventory, _with_a_split(fraction, named))
    if fraction == 0:
        return _with_problems(
            inventory,
            "no validation photo: prepare.val_fraction is 0, and the data names none, so the "
            "scores of tags and masks are those of training photos",
            warning=True,
        )
    if not inventory.entries:
        return inventory
    entries = _drawn(inventory.entries, fraction, known())
    drawn = sum(entry.split == "val" for entry in entries)
    if not drawn:
        return _with_problems(
            inventory,
            "no validation photo was drawn: each class has too few photos "
            f"(prepare.val_fraction is {fraction:g}), or all were prepared for training before",
            warning=True,
        )
    remark = (
        f"{counted(drawn, 'validation photo was', 'validation photos were')} drawn "
        f"(prepare.val_fraction {fraction:g})"
    )
    return replace(inventory, entries=entries, remarks=(*inventory.remarks, remark), drawn=drawn)


def _with_a_split(fraction: float, named: int) -> str:
    """Return the error of a share given in addition to a written split; empty: none."""
    if fraction == Prepare().val_fraction:
        return ""
    return (
        f"prepare.val_fraction is {fraction:g}, but the data names "
        f"{counted(named, 'validation photo', 'validation photos')}; leave it out, or remove the "
        "split from the data"
    )


def _with_problems(inventory: Inventory, message: str, *, warning: bool = False) -> Inventory:
    if not message:
        return inventory
    return replace(inventory, problems=(*inventory.problems, DataProblem(message, warning=warning)))


class _Unit(NamedTuple):
    """Photos that are drawn together."""

    key: str
    tags: tuple[str, ...]


def _drawn(
    entries: tuple[InventoryEntry, ...], fraction: float, known: Mapping[str, Split]
) -> tuple[InventoryEntry, ...]:
    """Return the entries with the split of their group; those known keep theirs."""
    splits: dict[str, Split] = {}
    tags: dict[str, dict[str, None]] = {}
    for entry in entries:
        if entry.id in known:
            splits.setdefault(_key(entry), known[entry.id])
        tags.setdefault(_key(entry), {}).update(dict.fromkeys(entry.tags))
    units = [_Unit(key, tuple(own) or (_NO_TAG,)) for key, own in tags.items()]
    splits |= _stratified(units, fraction, splits)
    return tuple(
        entry._replace(split=known.get(entry.id, splits[_key(entry)])) for entry in entries
    )


def _key(entry: InventoryEntry) -> str:
    return f"group {entry.group}" if entry.group else f"photo {entry.id}"


def _stratified(
    units: Iterable[_Unit], fraction: float, known: Mapping[str, Split]
) -> dict[str, Split]:
    """Return the splits of the units without one, the tags of the fewest units first."""
    units = sorted(units, key=lambda unit: hashlib.sha256(unit.key.encode()).digest())
    total = Counter(tag for unit in units for tag in unit.tags)
    lacking: dict[Split, dict[str, float]] = {
        "train": {tag: (1 - fraction) * count for tag, count in total.items()},
        "val": {tag: fraction * count for tag, count in total.items()},
    }
    in_training = Counter(t for u in units if known.get(u.key) == "train" for t in u.tags)
    for unit in units:
        for tag in unit.tags if unit.key in known else ():
            lacking[known[unit.key]][tag] -= 1
    waiting = {tag: [u for u in units if u.key not in known and tag in u.tags] for tag in total}
    left = Counter({tag: len(own) for tag, own in waiting.items()})
    found: dict[str, Split] = {}
    while tag := min((t for t in left if left[t]), key=lambda t: (left[t], t), default=""):
        for unit in waiting[tag]:
            if unit.key in found:
                continue
            last = any(not in_training[t] and left[t] == 1 for t in unit.tags if t != _NO_TAG)
            more = lacking["val"][tag] > lacking["train"][tag]
            split: Split = "val" if more and not last else "train"
            found[unit.key] = split
            for own in unit.tags:
                lacking[split][own] -= 1
            left.subtract(unit.tags)
            if split == "train":
                in_training.update(unit.tags)
    return found
