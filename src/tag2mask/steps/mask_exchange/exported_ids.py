"""The ids of photos in exports that are read again.

Most formats have no place for ids. ``images/train/a.jpg`` may mean ``a`` or ``train/a``, and
``a.jpg`` the photo ``a`` or ``more/a``; in an export of ours, which has a record, it is ``a``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tag2mask.data.splits import SPLITS
from tag2mask.formats.photo_names import stem_path
from tag2mask.steps.mask_exchange.export import RECORD
from tag2mask.steps.mask_exchange.targets import TARGETS


def exported_ids(name: str, path: Path) -> Callable[[str], str | None]:
    """Return a function from the name of a photo in the files to its id; None: the name decides.

    Args:
        name: of the format.
        path: the files' folder, or one of them.
    """
    target = TARGETS.get(name)
    folders = [path] if path.is_dir() else [path.parent, path.parent.parent]
    if target is None or not any((folder / RECORD).is_file() for folder in folders):
        return lambda _: None
    if "{split}" not in target.photos:  # then the names in the files are the ids with a suffix
        return stem_path
    pattern = re.compile(target.photos.format(split=f"(?:{'|'.join(SPLITS)})") + "/(.+)")

    def id_of(photo: str) -> str | None:
        found = pattern.fullmatch(photo)
        return stem_path(found[1]) if found else None

    return id_of
