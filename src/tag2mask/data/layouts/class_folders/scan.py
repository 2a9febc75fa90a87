"""Class folders as they are on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tag2mask.data.layouts.listing import FoundFile, is_output_folder, list_images


class ClassFolder(NamedTuple):
    """The files of one class folder."""

    split: str
    """Empty where the data has no folders of splits."""
    name: str
    files: list[FoundFile]
    broken_links: list[str]
    other_files: list[str]
    skipped_folders: list[str]
    """System folders in it, and folders written by tag2mask."""

    @property
    def path(self) -> str:
        """Path below the data folder."""
        return f"{self.split}/{self.name}" if self.split else self.name

    @property
    def inner_paths(self) -> list[str]:
        """Paths of its photos below it."""
        return [file.path[len(self.path) + 1 :] for file in self.files]

    @property
    def inner_folders(self) -> list[str]:
        """The folders in it that have all its photos; empty where a photo is next to them."""
        inner = self.inner_paths
        if not all("/" in path for path in inner):
            return []
        return sorted({path.partition("/")[0] for path in inner})


def scan_class_folder(root: Path, split: str, name: str) -> ClassFolder:
    """List the files of a class folder; ``split`` is empty where there are no folders of splits.

    The images in a folder that tag2mask wrote are not listed.
    """
    folder = ClassFolder(split, name, [], [], [], [])
    if is_output_folder(root / folder.path):
        folder.skipped_folders.append(folder.path)
        return folder
    folder.files.extend(
        list_images(
            root,
            folder.path,
            broken_links=folder.broken_links,
            other_files=folder.other_files,
            skipped_folders=folder.skipped_folders,
        )
    )
    return folder
