"""What a data folder contains: entries, splits and the problems found while reading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tag2mask.data.corrections.folder import Corrections
from tag2mask.data.splits import Split
from tag2mask.recipe.sections import Prepare

TagSource = Literal["auto", "annotations", "tags.csv", "cls_labels", "masks"]


@dataclass(frozen=True)
class SourceOptions:
    """Options for reading a data folder.

    Attributes:
        train_split: name of a split, or path of a text file of ids.
        val_split: the same for validation; None: no validation photos.
        tags: where the tags of VOC's and Roboflow's layouts come from.
        val_fraction: share of the photos to draw for validation where the data names none (see
            `validation_draw`); None: nothing is drawn.
    """

    train_split: str = "train"
    val_split: str | None = "val"
    tags: TagSource = "auto"
    val_fraction: float | None = None

    @classmethod
    def of(cls, section: Prepare) -> Self:
        """Return the options that a recipe's section sets."""
        return cls(section.train_split, section.val_split, section.tags, section.val_fraction)


class InventoryEntry(NamedTuple):
    """One photo of a data folder, its tags still by name. Paths are relative to the folder."""

    id: str
    split: Split
    tags: tuple[str, ...]
    image: str | None
    """None: the photo is missing (the layout's reader reports it)."""
    stamp: str
    mask: str | None = None
    mask_stamp: str = ""
    where: str = ""
    """File and line that names the photo."""
    group: str = ""
    """Photos of one part or place, for example; empty: the photo is alone."""


@dataclass(frozen=True)
class DataProblem:
    """One thing that is wrong with the data, as one line.

    Attributes:
        message: what is wrong, where, and how to fix it.
        photo: id of the photo that can be skipped instead; None: skipping a photo doesn't help.
        warning: True where training may go on.
    """

    message: str
    photo: str | None = None
    warning: bool = False


class MaskDrawer(Protocol):
    """Draws the masks of a layout that stores outlines instead of pixels."""

    def misfit(self, id: str, size: tuple[int, int]) -> str:
        """Return why the outlines can't be those of a photo of ``size`` (h, w); empty: they may."""

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw the mask of a photo.

        Args:
            id: the photo.
            size: its (h, w) in px.

        Returns:
            uint8 (h, w) of mask ids.

        Raises:
            DataError: the outlines are damaged or don't fit the photo.
        """


@dataclass(frozen=True)
class Inventory:
    """Everything found in a data folder, with all problems.

    Attributes:
        layout: its name, such as ``voc`` (see `detect`).
        root: absolute; every path of the entries is relative to it.
        class_names: foreground classes in the order of their tag ids (not checked yet).
        entries: one per photo and split, in the order of the lists or tables.
        problems: what went wrong while reading.
        found_splits: names of all splits found, requested or not.
        mask_drawer: set where entries have a ``mask_stamp`` but no mask file.
        tag_source: the files that the tags come from, for messages.
        class_list: the file that names the classes, for messages; empty: there is none.
        names_from_tags: no list names the classes, so a misspelled tag becomes a class.
        remarks: how the data was understood where that was a guess, one line each, such as
            ``column 'label' is read as tags``.
        drawn: validation photos that the data doesn't name (see `validation_draw`).
        val_fraction: share to draw in place of the recipe's default; None: the recipe's.
        corrections: what a person decided about photos, whose tags are those of the entries
            already; None: nothing.
    """

    layout: str
    root: Path
    class_names: tuple[str, ...]
    entries: tuple[InventoryEntry, ...]
    problems: tuple[DataProblem, ...] = ()
    found_splits: tuple[str, ...] = ()
    mask_drawer: MaskDrawer | None = None
    tag_source: str = ""
    class_list: str = ""
    names_from_tags: bool = False
    remarks: tuple[str, ...] = ()
    drawn: int = 0
    val_fraction: float | None = None
    corrections: Corrections | None = None
