"""Layout ``labelstudio``: JSON or JSON-MIN; tags are choices and the labels of regions.

::

    DIR/project-1-at-2024-05-01.json
    DIR/images/a.jpg                   or anywhere else below DIR, with or without upload's prefix

Brush strokes and polygons become masks for evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import DataProblem, Inventory, SourceOptions
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.errors import DataError, first_few
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.labelstudio.reading import is_labelstudio, read_labelstudio, text_fields

_MOST_FILES = 50
"""JSON files that are looked into; there are more where each is of one photo."""


def is_labelstudio_folder(folder: Path) -> bool:
    """Return whether a folder has tasks of Label Studio."""
    return bool(labelstudio_files(folder))


def labelstudio_files(folder: Path) -> list[Path]:
    """Return Label Studio's JSON files of a data folder, sorted."""
    paths = sorted(path for path in folder.glob("*.json") if path.is_file())
    if len(paths) > _MOST_FILES:
        return []
    return [path for path in paths if is_labelstudio(path)]


def read_labelstudio_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with an export of Label Studio (see the module's docstring).

    Raises:
        DataError: no such file, several, or a damaged one.
    """
    root = folder.resolve()
    files = labelstudio_files(root)
    if len(files) != 1:
        found = f"several exports of Label Studio: {', '.join(p.name for p in files)}"
        raise DataError(
            found if files else "no export of Label Studio",
            where=root,
            fix="Put one JSON or JSON-MIN of Label Studio into it.",
        )
    source = AnnotatedSource(
        "labelstudio", files[0].name, read_labelstudio(files[0]), files_stamp(files)
    )
    inventory = read_annotated(root, source, options)
    return replace(inventory, problems=(*inventory.problems, *_text_problems(files[0])))


def _text_problems(file: Path) -> list[DataProblem]:
    """Return a warning where comments may have become classes."""
    fields = text_fields(file)
    if not fields:
        return []
    return [
        DataProblem(
            f"{file.name} is JSON-MIN, which doesn't say whether a text is a choice or a comment: "
            f"those of {first_few(map(repr, fields))} are classes; if one has comments, export "
            "JSON instead",
            warning=True,
        )
    ]
