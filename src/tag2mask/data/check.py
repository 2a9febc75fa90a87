"""All problems of a data folder at once.

Two depths. ``inventory_problems`` looks at what the source read: ids, tags, splits, classes; it is
a matter of seconds for 100,000 photos, and ``prepare`` runs it. ``check_data`` also decodes every
photo and every mask, counts what there is, and is what ``tag2mask data check`` prints.

An error stops a run before it trains; a warning doesn't.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import BACKGROUND, IGNORE, ClassSet, mask_id
from tag2mask.data.images import image_size, read_image
from tag2mask.data.inventory import SPLITS, DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.detect import Layout, read_inventory
from tag2mask.data.layouts.listing import path_conflicts
from tag2mask.data.masks import mask_colors, read_mask
from tag2mask.errors import DataError, first_few, nearest_hint
from tag2mask.runtime.threads import ordered_map

Progress = Callable[[int, int], None]
"""Called with (done, all)."""

PHOTOS_PER_BLOCK = 16
"""Photos that a thread takes at once: only a file's head is read of most."""
_SIMILAR = 0.8
_RARE = 0.05
"""Share of a class's photos that a slip of its name may have."""


@dataclass(frozen=True)
class DataReport:
    """What a data folder holds and what is wrong with it.

    Attributes:
        layout: as recognized.
        root: the data folder, absolute.
        class_names: C names in the order of their tag ids.
        photos: photos of each split that has any.
        untagged: photos with no tag.
        tag_counts: int64 (splits, C): photos of each class, rows in the order of ``photos``.
        cooccurrence: int64 (C, C): photos that hold both classes; the diagonal counts each.
        sizes: (h, w) px of the smallest, median and largest readable photo, by area.
        masks: photos that have a mask.
        problems: errors and warnings.
    """

    layout: str
    root: Path
    class_names: tuple[str, ...]
    photos: dict[str, int]
    untagged: int
    tag_counts: NDArray[np.int64]
    cooccurrence: NDArray[np.int64]
    sizes: tuple[tuple[int, int], ...]
    masks: int
    problems: tuple[DataProblem, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """Messages that stop a run."""
        return tuple(p.message for p in self.problems if not p.warning)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Messages that don't."""
        return tuple(p.message for p in self.problems if p.warning)

    @property
    def pairs(self) -> tuple[tuple[str, str, int], ...]:
        """Classes that occur together, the most frequent pair first."""
        rows, columns = np.nonzero(np.triu(self.cooccurrence, 1))
        pairs = [
            (self.class_names[r], self.class_names[c], int(self.cooccurrence[r, c]))
            for r, c in zip(rows, columns, strict=True)
        ]
        return tuple(sorted(pairs, key=lambda pair: -pair[2]))


def check_data(
    folder: Path,
    layout: Layout = "auto",
    options: SourceOptions | None = None,
    *,
    decode: bool = True,
    workers: int = 4,
    progress: Progress | None = None,
) -> DataReport:
    """Read a data folder, open every photo and mask, and report everything that is wrong.

    Args:
        folder: the data folder.
        layout: how to read it.
        options: splits and the source of tags; None: the defaults.
        decode: decode the photos in full, which finds cut-off files; False: headers only.
        workers: threads that read.
        progress: called as photos are done.

    Raises:
        DataError: nothing can be read at all (see ``read_inventory``).
    """
    inventory = read_inventory(folder, layout, options)
    problems = inventory_problems(inventory)

    def look(entry: InventoryEntry) -> _Look:
        return _look_at(inventory, entry, decode=decode)

    sizes: list[tuple[int, int]] = []
    shown: list[tuple[InventoryEntry, frozenset[int]]] = []
    recolored: list[InventoryEntry] = []
    colors: dict[int, tuple[int, int, int]] = {}
    results = ordered_map(look, inventory.entries, workers, block=PHOTOS_PER_BLOCK)
    for done, (entry, found) in enumerate(zip(inventory.entries, results, strict=True), start=1):
        if progress is not None:
            progress(done, len(inventory.entries))
        if found.size is not None:
            sizes.append(found.size)
        if found.problem is not None:
            problems.append(found.problem)
        elif found.mask_values is not None:
            shown.append((entry, found.mask_values))
            if any(colors.setdefault(value, own) != own for value, own in found.colors):
                recolored.append(entry)
    if recolored:
        problems.append(
            DataProblem(
                "masks give a class number another color than masks before them "
                f"({_photos(recolored)}): if they are colors that were saved with a palette of "
                "each mask's own, the numbers mean nothing; write class numbers",
                warning=True,
            )
        )
    problems += _masks_against_tags(inventory, shown)
    return _report(inventory, sizes, problems)


def inventory_problems(inventory: Inventory) -> list[DataProblem]:
    """Problems of ids, tags, splits and classes, with those met while reading.

    No photo is opened.
    """
    problems = list(inventory.problems)
    problems += _duplicates(inventory.entries)
    problems += [
        DataProblem(
            f"photo {inner!r} lies in a folder named as a file of photo {photo!r} would be; "
            "rename one of the two"
        )
        for photo, inner in path_conflicts({entry.id for entry in inventory.entries})
    ]
    problems += _tag_problems(inventory)
    try:
        if inventory.class_names:
            ClassSet(inventory.class_names)
    except DataError as error:
        named_in = inventory.class_list or inventory.reads
        problems.append(DataProblem(f"{error.what} ({named_in}). {error.fix}"))
    train = [entry for entry in inventory.entries if entry.split == "train"]
    if not inventory.found_splits:
        if all(problem.warning for problem in problems):  # else they say why no line counts
            problems.append(
                DataProblem(
                    f"no photo for training: no line of {inventory.reads} names "
                    "one; write one line a photo below its header"
                )
            )
    elif not train:
        problems.append(
            DataProblem(
                "no photo for training; splits found: "
                f"{first_few(inventory.found_splits)}; set "
                "prepare.train_split to one of them"
            )
        )
    elif not any(entry.tags for entry in train):
        problems.append(
            DataProblem(
                f"no training photo has a tag ({inventory.reads}): there is "
                "nothing to learn; fill in the tags"
            )
        )
    return problems


def read_checked_mask(
    inventory: Inventory, entry: InventoryEntry, size: tuple[int, int]
) -> NDArray[np.uint8] | DataProblem | None:
    """A photo's mask, uint8 (h, w), or what is wrong with its size, kind or values.

    Args:
        inventory: where the entry is from.
        entry: a photo; None where it has no mask.
        size: the photo's (h, w).
    """
    try:
        if entry.mask is not None:
            mask = read_mask(inventory.root / entry.mask, len(inventory.class_names))
        elif entry.mask_stamp and inventory.mask_drawer is not None:
            mask = inventory.mask_drawer.draw(entry.id, size)
        else:
            return None
    except DataError as error:
        return DataProblem(f"mask of photo {entry.id!r}: {error}")
    if mask.shape != size:
        return DataProblem(
            f"mask of photo {entry.id!r} has another size: mask {mask.shape[1]}x{mask.shape[0]}, "
            f"photo {size[1]}x{size[0]} px [{entry.mask or entry.where}]; replace one of the two"
        )
    return mask


class _Look(NamedTuple):
    """What a photo and its mask turned out to be."""

    size: tuple[int, int] | None = None
    problem: DataProblem | None = None
    mask_values: frozenset[int] | None = None
    colors: frozenset[tuple[int, tuple[int, int, int]]] = frozenset()
    """Of a palette mask: the class numbers in it with their colors."""


def _look_at(inventory: Inventory, entry: InventoryEntry, *, decode: bool) -> _Look:
    if entry.image is None:
        return _Look()  # reported by the source
    path = inventory.root / entry.image
    try:
        size = image_size(path)
        if decode:
            read_image(path)
    except DataError as error:
        return _Look(problem=DataProblem(f"photo {entry.id!r}: {error}", photo=entry.id))
    mask = read_checked_mask(inventory, entry, size)
    if mask is None or isinstance(mask, DataProblem):
        return _Look(size, mask)
    values = frozenset(np.unique(mask).tolist())
    colors = {} if entry.mask is None else mask_colors(inventory.root / entry.mask)
    return _Look(
        size,
        mask_values=values,
        colors=frozenset(
            (value, colors[value]) for value in (values & colors.keys()) - {BACKGROUND, IGNORE}
        ),
    )


def _masks_against_tags(
    inventory: Inventory, shown: Sequence[tuple[InventoryEntry, frozenset[int]]]
) -> list[DataProblem]:
    """Warnings where masks (photos with the values in them) and tags can't both be right."""
    ids = {name: mask_id(tag) for tag, name in enumerate(inventory.class_names)}
    empty, foreign = [], []
    for entry, values in shown:
        classes = values - {BACKGROUND, IGNORE}
        if not classes and IGNORE in values and entry.tags:
            empty.append(entry)
        elif classes - {ids[tag] for tag in entry.tags if tag in ids}:
            foreign.append(entry)
    problems = []
    if empty:
        problems.append(
            DataProblem(
                f"masks of tagged photos hold 255 but no class ({_photos(empty)}): 255 means not "
                "labeled; write 1, 2, ... for the classes",
                warning=True,
            )
        )
    if foreign:
        problems.append(
            DataProblem(
                f"masks show classes that the tags lack ({_photos(foreign)}); mend the tags or the "
                "masks",
                warning=True,
            )
        )
    return problems


def _duplicates(entries: Sequence[InventoryEntry]) -> list[DataProblem]:
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
            what = "stands twice"
        problems.append(
            DataProblem(
                f"id {entry.id!r} {what} ({first.where} and {entry.where}); remove one of the two"
            )
        )
    return problems


def _tag_problems(inventory: Inventory) -> list[DataProblem]:
    known = set(inventory.class_names)
    photos: dict[str, list[InventoryEntry]] = {}
    for entry in inventory.entries:
        for tag in entry.tags:
            photos.setdefault(tag, []).append(entry)
    problems = [
        DataProblem(
            f"unknown tag {tag!r}{nearest_hint(tag, inventory.class_names)} "
            f"({_photos(tagged)}; {inventory.reads}); mend the tag or add it to "
            f"{inventory.class_list or 'the classes'}"
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
    if not inventory.names_from_tags:
        return problems
    return problems + [
        DataProblem(
            f"tag {rare!r} of {_photos(photos[rare])} looks like {common!r} "
            f"({len(photos[common])} photos); is it a slip?",
            warning=True,
        )
        for rare, common in _look_alikes({tag: len(tagged) for tag, tagged in photos.items()})
    ]


def _photos(entries: Sequence[InventoryEntry]) -> str:
    """A few photos by name and line."""
    shown = first_few((f"{e.id!r} [{e.where}]" if e.where else repr(e.id) for e in entries), 3)
    return f"photo {shown}" if len(entries) == 1 else f"{len(entries)} photos: {shown}"


def _look_alikes(counts: dict[str, int]) -> list[tuple[str, str]]:
    """(rare, common) names of classes so alike that the rare one may be a slip.

    Names that differ in case or in how their accents are encoded alone always are; others where one
    is much rarer than the other.
    """
    pairs: list[tuple[str, str]] = []
    for rare, count in sorted(counts.items()):
        others = {
            name: _folded(name)
            for name, times in counts.items()
            if name != rare and (times, name) > (count, rare)
        }
        same = [name for name, folded in others.items() if folded == _folded(rare)]
        far_more = {
            folded: name
            for name, folded in others.items()
            if counts[name] >= 3 and count <= max(1, _RARE * counts[name])
        }
        close = difflib.get_close_matches(_folded(rare), far_more, n=1, cutoff=_SIMILAR)
        if same or close:
            pairs.append((rare, same[0] if same else far_more[close[0]]))
    return pairs


def _folded(name: str) -> str:
    """A name as case and the encoding of accents don't matter."""
    return unicodedata.normalize("NFC", name).casefold()


def _report(
    inventory: Inventory, sizes: list[tuple[int, int]], problems: list[DataProblem]
) -> DataReport:
    names = inventory.class_names
    number = {name: index for index, name in enumerate(names)}
    splits = [split for split in SPLITS if any(e.split == split for e in inventory.entries)]
    tag_counts = np.zeros((len(splits), len(names)), np.int64)
    together: Counter[tuple[int, int]] = Counter()
    for entry in inventory.entries:
        own = sorted({number[tag] for tag in entry.tags if tag in number})
        tag_counts[splits.index(entry.split), own] += 1
        together.update((a, b) for a in own for b in own)
    cooccurrence = np.zeros((len(names), len(names)), np.int64)
    for (row, column), count in together.items():
        cooccurrence[row, column] = count
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    middle = (by_area[0], by_area[len(by_area) // 2], by_area[-1]) if by_area else ()
    return DataReport(
        layout=inventory.layout,
        root=inventory.root,
        class_names=names,
        photos={split: sum(e.split == split for e in inventory.entries) for split in splits},
        untagged=sum(not entry.tags for entry in inventory.entries),
        tag_counts=tag_counts,
        cooccurrence=cooccurrence,
        sizes=middle,
        masks=sum(bool(entry.mask_stamp) for entry in inventory.entries),
        problems=tuple(problems),
    )
