"""Names that are not classes, taken out of an inventory; the same rule for every layout.

Tools write ``_background_``, ``no_label``, ``nan`` or ``OK`` where a photo has no class. As classes
they would be learned, and they would shift the numbers in masks. `name_kind` has the rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tag2mask.classes import NameKind, is_doubtful_name, name_kind
from tag2mask.data.checks.inventory import describe_photos
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry
from tag2mask.errors import first_few

_ANSWERS = frozenset(
    {"yes", "no", "y", "n", "true", "false", "oui", "non", "ja", "nein", "wahr", "falsch"}
    | {"sí", "si"}
)
"""Tags that answer the question whether a photo shows something."""
_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
_DENIAL = re.compile(
    r"(?:(?:no|not|non|without|kein|keine|ohne|sans|sin)[ _-]+|[!~-])\s*(\D.*)", re.IGNORECASE
)
_WITH = re.compile(r"(?:with|mit|avec|con)[ _-]+", re.IGNORECASE)
_Photos = dict[str, list[InventoryEntry]]
"""Photos by tag."""


def leave_out_non_classes(inventory: Inventory) -> Inventory:
    """Remove the tags and classes whose names say that they are none.

    Photos whose only tag says that they are not labeled are left out. A name that a list of classes
    has (``classes.txt``, COCO's categories) is a class. Whatever is in doubt becomes a warning.
    """
    listed = () if inventory.names_from_tags else inventory.class_names
    photos = _photos_by_tag(inventory.entries)
    kinds = {tag: name_kind(tag) for tag in photos if tag not in listed}
    no_class = {tag: kind for tag, kind in kinds.items() if kind != "class"}
    kept: list[InventoryEntry] = []
    unlabeled: list[InventoryEntry] = []
    for entry in inventory.entries:
        tags = tuple(tag for tag in entry.tags if tag not in no_class)
        if not tags and any(no_class[tag] == "unlabeled" for tag in entry.tags):
            unlabeled.append(entry)
        else:
            kept.append(entry._replace(tags=tags))
    problems = _unlabeled_problems(unlabeled) + _left_out_problems(photos, no_class)
    names = inventory.class_names
    if inventory.names_from_tags:
        names = tuple(name for name in names if name_kind(name) == "class")
        problems += _doubtful_problems(photos, names)
    return replace(
        inventory,
        class_names=names,
        entries=tuple(kept),
        problems=(*inventory.problems, *problems),
        remarks=(*inventory.remarks, *background_remarks(photos)),
    )


def background_remarks(names: Iterable[str]) -> tuple[str, ...]:
    """Return a remark on names that mean the background in other words or languages."""
    found = [n for n in names if name_kind(n) == "background" and "background" not in n.casefold()]
    return (f"read as background: {_quoted(sorted(found))}",) if found else ()


def _photos_by_tag(entries: Iterable[InventoryEntry]) -> _Photos:
    photos: _Photos = {}
    for entry in entries:
        for tag in entry.tags:
            photos.setdefault(tag, []).append(entry)
    return photos


def _unlabeled_problems(entries: list[InventoryEntry]) -> list[DataProblem]:
    """Return a warning where photos are left out because they are not labeled."""
    if not entries:
        return []
    names = sorted({tag for entry in entries for tag in entry.tags})
    return [
        DataProblem(
            f"photos that are not used, since {_quoted(names)} says that they are not labeled "
            f"({describe_photos(entries)}): tag them; if they show none of the classes, leave "
            "their tags empty (one folder per class: put them into background/)",
            warning=True,
        )
    ]


def _left_out_problems(photos: _Photos, no_class: Mapping[str, NameKind]) -> list[DataProblem]:
    """Return a warning for each tag that probably, but not certainly, is not a class."""
    return [
        DataProblem(
            f"tag {tag!r} is not a class, judging by its name "
            f"({describe_photos(photos[tag])}): photos without another tag "
            "count as showing none of the classes; leave out photos that are "
            "not labeled, and if it is a class, list the classes in classes.txt or rename it",
            warning=True,
        )
        for tag, kind in sorted(no_class.items())
        if kind in ("nothing", "ignore")
    ]


def _doubtful_problems(photos: _Photos, names: tuple[str, ...]) -> list[DataProblem]:
    """Return warnings of classes that no list names and that may be none."""
    doubtful = [name for name in names if is_doubtful_name(name) and name in photos]
    problems = [
        DataProblem(
            f"class {name!r} may not be a class, judging by its name "
            f"({describe_photos(photos[name])}): if these photos show "
            "none of the classes, leave their tags empty (one folder per class: put "
            "them into background/); if it is not known what they show, leave them out; if it is "
            "a class, list the classes in classes.txt",
            warning=True,
        )
        for name in doubtful
    ]
    problems += [
        DataProblem(
            f"class {name!r} says that photos don't show {denied!r} "
            f"({describe_photos(photos[name])}): leave their tags empty (one folder per class: put "
            "them into background/); if it is a class, list the classes in classes.txt",
            warning=True,
        )
        for name, denied in _denials(names)
        if name in photos
    ]
    numbers = all(_NUMBER.fullmatch(name) for name in names)
    if names and (numbers or all(name.casefold() in _ANSWERS for name in names)):
        what = "numbers" if numbers else "answers"
        problems.append(
            DataProblem(
                f"all tags are {what} ({_quoted(names)}), and each is a class: if one of them "
                "means none of the classes, leave the tags of its photos empty; else write names, "
                f"or list the {what} in classes.txt",
                warning=True,
            )
        )
    return problems


def _denials(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names that deny another, with that: ``not_hotdog``, ``without_mask``."""
    others = {_WITH.sub("", name, count=1).casefold(): name for name in names}
    denied = [(name, _DENIAL.fullmatch(name)) for name in names]
    return [
        (name, others[found[1].casefold()])
        for name, found in denied
        if found and found[1].casefold() in others
    ]


def _quoted(names: Iterable[str]) -> str:
    return first_few(map(repr, names))
