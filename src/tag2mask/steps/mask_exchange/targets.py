"""The formats that masks are exported to, each with its writer in `tag2mask.formats`.

Writers are imported when they are used: ``--help`` names the formats and needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tag2mask.errors import DataError

if TYPE_CHECKING:
    from tag2mask.formats.annotations import ExportResult


@dataclass(frozen=True)
class Target:
    """A format that masks are exported to.

    Attributes:
        name: of the format.
        module: module of the writer, below `tag2mask.formats`.
        function: the writer: ``(photos, classes, folder, **options)`` to `ExportResult`.
        photos: folder of the photos inside the export; ``{split}`` is replaced.
        options: arguments of the writer, by name of the command's option.
        names_place: the writer has an argument ``place``: its files name the finished folder.
    """

    name: str
    module: str
    function: str
    photos: str
    options: Mapping[str, str] = field(default_factory=dict)
    names_place: bool = False

    @property
    def write(self) -> Callable[..., ExportResult]:
        """The writer."""
        module = import_module(f"tag2mask.formats.{self.module}")
        writer: Callable[..., ExportResult] = getattr(module, self.function)
        return writer


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target(
            "coco",
            "coco.writing",
            "write_coco",
            "images",
            {"polygons": "polygons", "stuff": "by_class"},
        ),
        Target("cvat", "cvat", "write_cvat", "images"),
        Target("labelme", "labelme.writing", "write_labelme", ".", {"polygons": "polygons"}),
        Target(
            "labelstudio",
            "labelstudio.writing",
            "write_labelstudio",
            "images",
            {"photo-prefix": "photo_prefix", "model-version": "model_version"},
        ),
        Target(
            "ultralytics",
            "ultralytics.semantic",
            "write_ultralytics",
            "images/{split}",
            names_place=True,
        ),
        Target("yolo", "ultralytics.yolo", "write_yolo", "images/{split}", names_place=True),
        Target("fiftyone", "fiftyone", "write_fiftyone", "data/{split}", names_place=True),
        Target("huggingface", "huggingface.writing", "write_huggingface", "{split}/images"),
        Target("voc", "voc.writing", "write_voc", "JPEGImages", {"void": "void"}),
        Target("binary", "binary", "write_binary", "images"),
    )
}
"""The formats by name."""


def given_options(target: Target, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as arguments of the format's writer.

    Args:
        target: the format.
        options: value of every option of any format, by name; None or False: not given.

    Raises:
        DataError: one that the format doesn't have.
    """
    given = {name: value for name, value in options.items() if value not in (None, False)}
    for name in given:
        if name not in target.options:
            known = ", ".join(map(_flag, target.options))
            raise DataError(
                f"the format {target.name} has no option {_flag(name)}",
                fix=f"Leave it out. The format has {known}." if known else "Leave it out.",
            )
    return {target.options[name]: value for name, value in given.items()}


def _flag(name: str) -> str:
    return f"--{name}"
