"""Problems of an inventory: ids, tags, splits and classes. No photo is opened.

This takes seconds for 100,000 photos. The step ``prepare`` and `data_folder.check_data` run it.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence

from tag2mask.classes import MAX_CLASSES, ClassSet
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry
from tag2mask.data.layouts.ids import path_conflicts
from tag2mask.data.splits import Split
from tag2mask.errors import DataError, counted, first_few, nearest_hint

_SIMILAR = 0.8
"""Similarity (difflib's ratio) from which a rare name may be another one misspelled."""
_RARE = 0.05
"""A misspelled name has at most this share of the photos of the correct one."""


def inventory_problems(inventory: Inventory) -> list[DataProblem]:
    """Return the problems of ids, tags, splits and classes, after those found while reading."""
    problems = list(inventory.problems)
    problems += _duplicates(inventory.entries)
    problems += [
        DataProblem(
            f"photo {inner!r} is in a folder that has the name of a file of photo {photo!r}; "
            "rename one of the two"
        )
        for photo, inner in path_conflicts({entry.id for entry in inventory.entries})
    ]
    problems += _tag_problems(inventory)
    problems += _class_problems(inventory)
    problems += _training_problems(inventory, problems)
    problems += _indistinguishable_classes(inventory)
    problems += _divided_groups(inventory)
    return problems


def _class_problems(inventory: Inventory) -> list[DataProblem]:
    """Return the problem of names that can't be classes."""
    try:
        if inventory.class_names:
            ClassSet(inventory.class_names)
    except DataError as error:
        named_in = inventory.class_list or inventory.tag_source
        return [DataProblem(f"{error.what} ({named_in}). {error.fix}")]
    return []


def _training_problems(inventory: Inventory, found: Sequence[DataProblem]) -> list[DataProblem]:
    """Return the problem of data without a tagged training photo; ``found`` may explain it."""
    train = [entry for entry in inventory.entries if entry.split == "train"]
    if not train and not all(problem.warning for problem in found):
        return []  # the errors say why no line could be used
    if not inventory.found_splits:
        return [
            DataProblem(
                f"no photo for training: no line of {inventory.tag_source} names "
                "one; write one line per photo below its header"
            )
        ]
    if not train:
        return [
            DataProblem(
                f"no photo for training; splits found: {first_few(inventory.found_splits)}; "
                "set prepare.train_split to one of them"
            )
        ]
    if not any(entry.tags for entry in train):
        return [
            DataProblem(
                f"no training photo has a tag ({inventory.tag_source}): there is "
                "nothing to learn; fill in the tags"
            )
        ]
    return []


def _indistinguishable_classes(inventory: Inventory) -> list[DataProblem]:
    """Return warnings of classes that no training photo tells from the rest or from each other."""
    train = [entry for entry in inventory.entries if entry.split == "train"]
    photos: dict[str, set[str]] = {}
    for entry in train:
        for tag in entry.tags:
            photos.setdefault(tag, set()).add(entry.id)
    count = len({entry.id for entry in train})
    everywhere = [repr(tag) for tag, ids in sorted(photos.items()) if len(ids) == count]
    groups: dict[frozenset[str], list[str]] = {}
    for tag, ids in sorted(photos.items()):
        groups.setdefault(frozenset(ids), []).append(tag)
    together = [
        f"{' + '.join(tags)} ({len(ids)} photo{'s' if len(ids) > 1 else ''})"
        for ids, tags in groups.items()
        if len(tags) > 1
    ]
    problems = []
    if everywhere:
        what = "the only class" if len(photos) == 1 else "class"
        of = "the only training photo" if count == 1 else f"all {count} training photos"
        problems.append(
            f"{what} {first_few(everywhere)} is on {of}: nothing shows what it is not, so "
            "that maps may cover everything; add training photos without it (without tags, "
            "if they show no class)"
        )
    if together:
        problems.append(
            f"classes are on exactly the same training photos: {first_few(together)}; they can't "
            "be told apart: add photos of each without the other, or make them one class"
        )
    return [DataProblem(message, warning=True) for message in problems]


def _divided_groups(inventory: Inventory) -> list[DataProblem]:
    """Return a warning of groups with photos in both splits."""
    splits: dict[str, set[Split]] = {}
    for entry in inventory.entries:
        if entry.group:
            splits.setdefault(entry.group, set()).add(entry.split)
    divided = [repr(group) for group, own in splits.items() if len(own) > 1]
    if not divided:
        return []
    message = (
        f"{counted(len(divided), 'group has', 'groups have')} photos in both splits, training and "
        f"validation: {first_few(divided)}; their scores are too good: training photos are similar"
    )
    return [DataProblem(message, warning=True)]


def _duplicates(entries: Sequence[InventoryEntry]) -> list[DataProblem]:
    """Return the problems of ids that occur twice, and of photos with two ids."""
    seen: dict[str, InventoryEntry] = {}
    problems: list[DataProblem] = []
    files: dict[str, InventoryEntry] = {}
    for entry in entries:
        if entry.image is not None:
            same = files.setdefault(entry.image, entry)
            if same.id != entry.id:
                problems.append(
                    DataProblem(
                        f"ids {same.id!r} and {entry.id!r} are the same photo "
                        f"({same.where} and {entry.where}); remove one of the two"
                    )
                )
        first = seen.setdefault(entry.id, entry)
        if first is entry:
            continue
        if first.split != entry.split:
            what = "is in both splits, training and validation"
        else:
            what = "is listed twice"
        problems.append(
            DataProblem(
                f"id {entry.id!r} {what} ({first.where} and {entry.where}); remove one of the two"
            )
        )
    return problems


def _tag_problems(inventory: Inventory) -> list[DataProblem]:
    """Return the problems of unknown tags, classes without photos and misspelled names."""
    known = set(inventory.class_names)
    photos: dict[str, list[InventoryEntry]] = {}
    for entry in inventory.entries:
        for tag in entry.tags:
            photos.setdefault(tag, []).append(entry)
    problems = [
        DataProblem(
            f"unknown tag {tag!r}{nearest_hint(tag, inventory.class_names)} "
            f"({describe_photos(tagged)}; {inventory.tag_source}); correct the tag or add it to "
            f"{inventory.class_list or 'a classes.txt'}"
            + ("; if it is several tags, separate them by ';'" if " " in tag else "")
        )
        for tag, tagged in sorted(photos.items())
        if tag not in known
    ]
    in_training = {
        tag for tag, tagged in photos.items() if any(entry.split == "train" for entry in tagged)
    }
    if in_training:
        problems += [
            DataProblem(f"class {name!r} has no training photo", warning=True)
            for name in inventory.class_names
            if name not in in_training
        ]
    if not inventory.names_from_tags or len(photos) > MAX_CLASSES:
        return problems
    return problems + [
        DataProblem(
            f"tag {rare!r} of {describe_photos(photos[rare])} looks like {common!r} "
            f"({counted(len(photos[common]), 'photo', 'photos')}); is it misspelled?",
            warning=True,
        )
        for rare, common in similar_names({tag: len(tagged) for tag, tagged in photos.items()})
    ]


def describe_photos(entries: Sequence[InventoryEntry]) -> str:
    """Return the first few photos with file and line, as part of a message."""
    shown = first_few((f"{e.id!r} [{e.where}]" if e.where else repr(e.id) for e in entries), 3)
    return f"photo {shown}" if len(entries) == 1 else f"{len(entries)} photos: {shown}"


def similar_names(counts: dict[str, int]) -> list[tuple[str, str]]:
    """Return (rare, common) names so similar that the rare one may be misspelled.

    Names that differ only in case, in the encoding of their accents or in characters without width
    always are; others where one is much rarer than the other.
    """
    pairs: list[tuple[str, str]] = []
    for rare, count in sorted(counts.items()):
        others = {
            name: _folded(name)
            for name, times in counts.items()
            if name != rare and (times, name) > (count, rare)
        }
        same = [name for name, folded in others.items() if folded == _folded(rare)]
        much_more_common = {
            folded: name
            for name, folded in others.items()
            if counts[name] >= 3 and count <= max(1, _RARE * counts[name])
        }
        close = difflib.get_close_matches(_folded(rare), much_more_common, n=1, cutoff=_SIMILAR)
        if same or close:
            pairs.append((rare, same[0] if same else much_more_common[close[0]]))
    return pairs


def _folded(name: str) -> str:
    """Return a name without differences of case, the encoding of accents and invisible signs."""
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", visible).casefold()
