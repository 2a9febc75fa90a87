"""Check a data folder in full: ``tag2mask data check``.

`check_data` reports the problems of ids, tags, splits and classes (see `inventory`), decodes
every photo and every mask, and counts photos, tags and masks. An error stops a run before it
trains; a warning doesn't.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tag2mask.data.checks.inventory import describe_photos, inventory_problems
from tag2mask.data.checks.masks import mask_problems, outline_misfit, read_checked_mask
from tag2mask.data.checks.photo_doubts import photo_doubts
from tag2mask.data.checks.understood import understood
from tag2mask.data.corrections.check import correction_problems, with_corrections
from tag2mask.data.corrections.folder import Corrections, read_corrections
from tag2mask.data.images import decoded_size, image_size
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.splits import SPLITS
from tag2mask.data.validation_draw import with_validation
from tag2mask.errors import DataError
from tag2mask.recipe.data_layouts import Layout
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import ordered_map

Result = TypeVar("Result")
PHOTOS_PER_BLOCK = 16
"""Photos that a thread takes at once, since reading a header takes little time."""


@dataclass(frozen=True)
class DataReport:
    """What a data folder contains and what is wrong with it.

    Attributes:
        layout: the layout it was read as.
        root: the data folder, absolute.
        class_names: C names in the order of their tag ids.
        photos: photos of each split that has any.
        untagged: photos with no tag.
        tag_counts: int64 (splits, C): photos of each class, rows in the order of ``photos``.
        cooccurrence: int64 (C, C): photos with both classes; on the diagonal, photos with one.
        sizes: (h, w) px of the smallest, median and largest readable photo, by area.
        masks: photos that have a mask.
        problems: errors and warnings.
        understood: what was understood, in five lines.
        corrections: what a person decided about the photos; None: nothing was given.
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
    understood: tuple[str, ...]
    corrections: Corrections | None = None

    @property
    def errors(self) -> tuple[str, ...]:
        """Messages of the problems that stop a run."""
        return tuple(p.message for p in self.problems if not p.warning)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Messages of the problems that don't."""
        return tuple(p.message for p in self.problems if p.warning)

    @property
    def training_photos(self) -> dict[str, int]:
        """Training photos of each class."""
        if "train" not in self.photos:
            return dict.fromkeys(self.class_names, 0)
        counts = self.tag_counts[list(self.photos).index("train")].tolist()
        return dict(zip(self.class_names, counts, strict=True))

    @property
    def pairs(self) -> tuple[tuple[str, str, int], ...]:
        """Classes that occur together and in how many photos, the most frequent pair first."""
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
    progress: bool = False,
    corrections: Path | None = None,
) -> DataReport:
    """Read a data folder, open every photo and mask, and report everything that is wrong.

    Args:
        folder: the data folder.
        layout: how to read it.
        options: splits and the source of tags; None: the defaults.
        decode: decode the photos in full, which finds cut-off files; False: headers only.
        workers: number of reading threads.
        progress: show the progress on the standard error.
        corrections: folder of corrections to check, too; None: none.

    Raises:
        DataError: the folder can't be read at all (see `read_inventory`), or the corrections can't.
    """
    options = options or SourceOptions()
    inventory = with_validation(read_inventory(folder, layout, options), options, dict)
    decided = None if corrections is None else read_corrections(corrections)
    if decided is not None:
        inventory = with_corrections(inventory, decided)
    problems = inventory_problems(inventory)

    def check(entry: InventoryEntry) -> _PhotoCheck:
        return _check_photo(inventory, entry, decode=decode)

    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    mask_values: list[tuple[InventoryEntry, frozenset[int]]] = []
    misfits: list[str] = []
    recolored: list[InventoryEntry] = []
    colors: dict[int, tuple[int, int, int]] = {}
    results = ordered_map(check, inventory.entries, workers, block=PHOTOS_PER_BLOCK)
    shown = with_progress(results, inventory, "data check", silent=not progress)
    for entry, found in zip(inventory.entries, shown, strict=True):
        if found.size is not None:
            sizes[entry.split, entry.id] = found.size
        if found.misfit:
            misfits.append(found.misfit)
        if found.problem is not None:
            problems.append(found.problem)
        elif found.mask_values is not None:
            mask_values.append((entry, found.mask_values))
            if any(colors.setdefault(value, own) != own for value, own in found.colors):
                recolored.append(entry)
    if recolored:
        problems.append(
            DataProblem(
                "masks give a class number another color than the masks before them "
                f"({describe_photos(recolored)}): if color images were saved with a palette per "
                "mask, their numbers are not classes; write class numbers",
                warning=True,
            )
        )
    problems += mask_problems(inventory, mask_values, misfits) + photo_doubts(inventory)
    if decided is not None:
        by_id = {photo: size for (_, photo), size in sizes.items()}
        problems += correction_problems(decided, by_id, inventory)
    lines = understood(inventory, options, [values for _, values in mask_values])
    return _report(inventory, list(sizes.values()), problems, lines, without_mask=len(misfits))


def with_progress(
    results: Iterable[Result], inventory: Inventory, description: str, *, silent: bool = False
) -> Iterator[Result]:
    """Yield the results of an inventory's photos, and show the progress on the standard error."""
    total = len(inventory.entries)
    with ProgressBar(total, description, silent=silent, only_if_long=True) as bar:
        for result in results:
            yield result
            bar.advance()


class _PhotoCheck(NamedTuple):
    """Size of a photo, values of its mask, or what is wrong with one of them."""

    size: tuple[int, int] | None = None
    problem: DataProblem | None = None
    mask_values: frozenset[int] | None = None
    """None: no usable mask."""
    colors: frozenset[tuple[int, tuple[int, int, int]]] = frozenset()
    """The class numbers in a palette mask with their colors."""
    misfit: str = ""
    """Why outlines don't fit the photo."""


def _check_photo(inventory: Inventory, entry: InventoryEntry, *, decode: bool) -> _PhotoCheck:
    if entry.image is None:
        return _PhotoCheck()  # reported by the layout's reader
    path = inventory.root / entry.image
    try:
        size = decoded_size(path) if decode else image_size(path)
    except DataError as error:
        return _PhotoCheck(problem=DataProblem(f"photo {entry.id!r}: {error}", photo=entry.id))
    mask = read_checked_mask(inventory, entry, size)
    if mask is None or isinstance(mask, DataProblem):
        return _PhotoCheck(size, mask, misfit=outline_misfit(inventory, entry, size))
    return _PhotoCheck(size, mask_values=mask.values, colors=mask.colors)


def _report(
    inventory: Inventory,
    sizes: list[tuple[int, int]],
    problems: list[DataProblem],
    lines: tuple[str, ...],
    *,
    without_mask: int,
) -> DataReport:
    names = inventory.class_names
    number = {name: index for index, name in enumerate(names)}
    splits = [split for split in SPLITS if any(e.split == split for e in inventory.entries)]
    tag_counts = np.zeros((len(splits), len(names)), np.int64)
    pairs: Counter[tuple[int, int]] = Counter()
    for entry in inventory.entries:
        own = sorted({number[tag] for tag in entry.tags if tag in number})
        tag_counts[splits.index(entry.split), own] += 1
        pairs.update((a, b) for a in own for b in own)
    cooccurrence = np.zeros((len(names), len(names)), np.int64)
    for (row, column), count in pairs.items():
        cooccurrence[row, column] = count
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    shown = (by_area[0], by_area[len(by_area) // 2], by_area[-1]) if by_area else ()
    return DataReport(
        layout=inventory.layout,
        root=inventory.root,
        class_names=names,
        photos={split: sum(e.split == split for e in inventory.entries) for split in splits},
        untagged=sum(not entry.tags for entry in inventory.entries),
        tag_counts=tag_counts,
        cooccurrence=cooccurrence,
        sizes=shown,
        masks=sum(bool(entry.mask_stamp) for entry in inventory.entries) - without_mask,
        problems=tuple(problems),
        understood=lines,
        corrections=inventory.corrections,
    )
