"""CVAT's ``labelmap.txt``: classes in the order of their ids, with their colors in masks.

::

    # label:color_rgb:parts:actions
    background:0,0,0::
    dog:128,0,0::
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tag2mask.classes import IGNORE, VOC_NAMES, ClassSet, name_kind
from tag2mask.errors import DataError
from tag2mask.files.atomic import write_text
from tag2mask.formats.text_files.text_lines import read_lines

LABEL_MAP = "labelmap.txt"
_HEADER = "# label:color_rgb:parts:actions"
Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelMap:
    """The labels of masks, in the order of their values.

    Attributes:
        names: all labels, background included.
        colors: RGB 0..255 of each; None: masks have values, not colors.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None

    @property
    def values_are_sure(self) -> bool:
        """Whether the value 0 of masks is the background, as in VOC."""
        return name_kind(self.names[0]) == "background"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes, in their order."""
        return tuple(name for name in self.names if name_kind(name) in ("class", "nothing"))


VOC_LABELS = LabelMap(("background", *VOC_NAMES))
"""What masks have where no list is beside them."""


def read_label_map(path: Path) -> LabelMap:
    """Read a file; a background that it doesn't list is the first label, black where it has colors.

    Raises:
        DataError: it can't be read, lists no label, too many, or one twice.
    """
    names: list[str] = []
    colors: list[Color | None] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, *fields = line.strip().rsplit(":", 3)
        if len(fields) < 3:
            name, *fields = line.strip().split(":")
        names.append(name.strip())
        colors.append(_color(fields[0] if fields else "", f"{path} line {number}"))
    if not names:
        raise DataError("it lists no label", where=path, fix="Write `name:color::` per class.")
    listed = len(names)
    black = (0, 0, 0)
    if all(name_kind(name) != "background" for name in names) and black not in colors:
        names, colors = ["background", *names], [black if any(colors) else None, *colors]
    if len(names) > IGNORE:
        raise DataError(
            f"it lists {listed} labels, more than the {IGNORE} that masks can hold",
            where=path,
            fix="Remove those that no mask has.",
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(
            f"label {twice[0]!r} is listed twice", where=path, fix="Remove one of the lines."
        )
    known = tuple(color for color in colors if color is not None)
    complete = len(known) == len(names) == len(set(known))
    return LabelMap(tuple(names), known if complete else None)


def write_label_map(path: Path, classes: ClassSet) -> None:
    """Write the classes with their colors, the background first.

    Raises:
        DataError: a name that the file can't hold.
    """
    for name in classes.names:
        if ":" in name or name.startswith("#") or name != name.strip():
            raise DataError(
                f"{LABEL_MAP} can't hold the class {name!r}: no name may contain a colon, begin "
                "with # or have spaces at its ends",
                fix="Rename the class, or export to another format.",
            )
    lines = [
        f"{name}:{','.join(map(str, color))}::"
        for name, color in zip(classes.mask_names, classes.colors, strict=True)
    ]
    write_text(path, "\n".join([_HEADER, *lines, ""]))


def _color(text: str, where: str) -> Color | None:
    """Return a color; None: the field is empty."""
    if not text.strip():
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(p.isdecimal() and len(p) < 4 and int(p) < 256 for p in parts):
        raise DataError(
            f"{text!r} is no color", where=where, fix="Write three numbers, as in 128,0,0."
        )
    return int(parts[0]), int(parts[1]), int(parts[2])
