"""What a layout holds: entries, splits and the problems met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tag2mask.recipe.sections import Prepare

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
TagSource = Literal["auto", "annotations", "tags.csv", "cls_labels"]


@dataclass(frozen=True)
class SourceOptions:
    """What a source may be told.

    Attributes:
        train_split: name of a split, or path of a text file of ids.
        val_split: the same for validation; None: none.
        tags: where a VOC layout's tags come from.
    """

    train_split: str = "train"
    val_split: str | None = "val"
    tags: TagSource = "auto"

    @classmethod
    def of(cls, section: Prepare) -> Self:
        """What a recipe's section says."""
        return cls(section.train_split, section.val_split, section.tags)


class InventoryEntry(NamedTuple):
    """One photo as a source found it, tags still by name. Paths are relative to the data folder."""

    id: str
    split: Split
    tags: tuple[str, ...]
    image: str | None
    """None: the photo is missing (the source reports it)."""
    stamp: str
    mask: str | None = None
    mask_stamp: str = ""
    where: str = ""
    """File and line that names the photo."""


@dataclass(frozen=True)
class DataProblem:
    """One thing that is wrong with the data, as one line.

    Attributes:
        message: what, where, and how to mend it.
        photo: id of the photo that can be left out instead; None: leaving out doesn't help.
        warning: True where training may go on.
    """

    message: str
    photo: str | None = None
    warning: bool = False


class MaskDrawer(Protocol):
    """Masks that a layout holds as outlines instead of pixels."""

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Mask ids of a photo of ``size`` (h, w); DataError where its outlines don't fit it."""


@dataclass(frozen=True)
class Inventory:
    """Everything a source found, with all the problems it met.

    Attributes:
        layout: ``voc``, ``coco``, ``csv`` or ``folders``.
        root: absolute; every path of the entries is relative to it.
        class_names: foreground classes in the order of their tag ids (not checked yet).
        entries: one a photo and split, in the order of the lists or tables.
        problems: what went wrong while reading.
        found_splits: names of all splits met, wanted or not.
        mask_drawer: set where entries have a ``mask_stamp`` but no mask file.
        reads: files that tell the tags, to be named in messages.
        class_list: the file that names the classes, likewise; empty: none but ``reads``.
        names_from_tags: no list names the classes, so a slip in a tag becomes a class.
    """

    layout: str
    root: Path
    class_names: tuple[str, ...]
    entries: tuple[InventoryEntry, ...]
    problems: tuple[DataProblem, ...] = ()
    found_splits: tuple[str, ...] = ()
    mask_drawer: MaskDrawer | None = None
    reads: str = ""
    class_list: str = ""
    names_from_tags: bool = False
