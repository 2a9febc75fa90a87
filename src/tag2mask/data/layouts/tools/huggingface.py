"""Layout ``huggingface``: an ImageFolder with metadata; tags are a column of it.

::

    DIR/train/metadata.jsonl   {"file_name": "a.jpg", "tags": ["dog"]}   (or DIR/metadata.jsonl)
    DIR/train/a.jpg

Where ``classes.txt`` lists the classes, the masks that ``mask_file_name`` names are for evaluation.
A ``metadata.csv`` is read as a table of tags, unless ``--source huggingface`` is given.
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.listing import CLASS_LIST, MASK_FOLDER, subfolders
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.errors import DataError
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.huggingface.reading import (
    has_tags,
    mask_files,
    metadata_files,
    read_huggingface,
)


def is_huggingface_folder(folder: Path) -> bool:
    """Return whether a folder has ``metadata.jsonl`` with tags."""
    return any(file.suffix == ".jsonl" and has_tags(file) for file in metadata_files(folder))


def read_huggingface_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder with an ImageFolder's metadata (see the module's docstring).

    Raises:
        DataError: no metadata with tags, or damaged ones.
    """
    root = folder.resolve()
    files = [file for file in metadata_files(root) if has_tags(file)]
    if not files:
        raise DataError(
            "no metadata of photos with their tags",
            where=root,
            fix="Write metadata.jsonl with `file_name` and `tags` in each line.",
        )
    folders = [f"{name}/{MASK_FOLDER}" for name in subfolders(root)]
    with_masks = (root / CLASS_LIST).is_file()
    drawn_from = [root / CLASS_LIST, *mask_files(root)] if with_masks else []
    source = AnnotatedSource(
        "huggingface",
        ", ".join(file.relative_to(root).as_posix() for file in files),
        read_huggingface(root, with_masks=with_masks),
        files_stamp([*files, *drawn_from]),
        not_photos=(MASK_FOLDER, *folders),
        photo_folder="",
        tags_from_regions=False,
    )
    return read_annotated(root, source, options)
