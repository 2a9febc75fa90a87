"""Write masks in the format of another tool: ``tag2mask masks export``.

Everything is written into a new folder beside the target, which takes the target's place at the
end: an interrupted export leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tag2mask.errors import ProblemsError, RunFolderError
from tag2mask.files.atomic import link_or_copy
from tag2mask.files.json_file import write_json
from tag2mask.files.replacement import replaced_folder
from tag2mask.formats.annotations import ExportResult, MaskedPhoto
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import ordered_map
from tag2mask.steps.mask_exchange.sources import MaskSource, SourceMask
from tag2mask.steps.mask_exchange.targets import Target
from tag2mask.version import __version__

PhotoFiles = Literal["link", "copy", "none"]
"""What happens to the photos."""
RECORD = ".tag2mask-export.json"
"""File that marks a folder as an export."""


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        result: what the writer says.
        photo_files: number of photos by what happened to them: ``linked``, ``copied``.
    """

    result: ExportResult
    photo_files: dict[str, int]


def export_masks(
    source: MaskSource,
    target: Target,
    out: Path,
    *,
    photo_files: PhotoFiles = "link",
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Exported:
    """Write masks in the format of another tool.

    Args:
        source: the masks.
        target: the format.
        out: the folder to write.
        photo_files: whether the photos are linked, copied or left out.
        overwrite: replace an earlier export.
        options: of the format's writer, by name.

    Raises:
        FolderInUseError: another process is writing ``out``.
        RunFolderError: ``out`` exists, is not an earlier export, is in the way of the photos or
            masks, or can't be written.
        DataError: a mask or photo that is missing or can't be read; names that the format can't
            hold.
    """
    _check_photos(source, photo_files)
    _check_place(source, out)
    with replaced_folder(out) as folder:
        _check_target(out, overwrite)  # here: another process may have written it just now
        photos = _Photos(source, target, folder, photo_files)
        place = {"place": out} if target.names_place else {}
        result = target.write(photos, source.classes, folder, **(options or {}), **place)
        record = {
            "tag2mask": __version__,
            "format": target.name,
            "source": str(source.folder.absolute()),
            "masks": source.what,
            "photos": result.photos,
        }
        write_json(folder / RECORD, record)
    return Exported(result, photos.files)


class _Photos:
    """The photos of an export, each linked or copied before the writer gets it."""

    def __init__(
        self, source: MaskSource, target: Target, folder: Path, photo_files: PhotoFiles
    ) -> None:
        self._source, self._target, self._folder = source, target, folder
        self._photo_files = photo_files
        self.files = {"linked": 0, "copied": 0}

    def __iter__(self) -> Iterator[MaskedPhoto]:
        """Yield the photos, with a progress bar; some masks are read ahead in other threads."""
        masks, num_classes = self._source.masks, len(self._source.classes)
        with (
            ProgressBar(len(masks), f"export {self._target.name}", only_if_long=True) as bar,
            closing(ordered_map(lambda mask: mask.read(num_classes), masks)) as read,
        ):
            for mask, pixels in zip(masks, read, strict=True):
                yield self._photo(mask, pixels)
                bar.advance()

    def _photo(self, mask: SourceMask, pixels: NDArray[np.uint8]) -> MaskedPhoto:
        assert mask.photo is not None
        split = mask.split or "train"
        name = f"{mask.id}{mask.photo.suffix}"
        if self._photo_files != "none":
            place = self._folder / self._target.photos.format(split=split) / name
            copied = link_or_copy(mask.photo, place, copy=self._photo_files == "copy")
            self.files["copied" if copied else "linked"] += 1
        height, width = pixels.shape
        return MaskedPhoto(
            id=mask.id,
            file_name=name,
            split=split,
            size=(width, height),
            score=mask.score,
            mask=lambda: pixels,
        )


def _check_photos(source: MaskSource, photo_files: PhotoFiles) -> None:
    """Check that every mask has a photo, which exists unless photos are left out."""
    if unknown := [mask.id for mask in source.masks if mask.photo is None]:
        raise ProblemsError(
            f"the photos of {len(unknown)} of {len(source.masks)} masks aren't known",
            unknown,
            where=source.folder,
            fix="Give the folder of the photos as --photos DIR.",
        )
    if photo_files == "none":
        return
    photos = (mask.photo for mask in source.masks if mask.photo is not None)
    if lost := [str(photo) for photo in photos if not photo.is_file()]:
        raise ProblemsError(
            f"{len(lost)} of {len(source.masks)} photos are missing",
            lost,
            fix="Put them back, or give --photo-files none.",
        )


def _check_place(source: MaskSource, out: Path) -> None:
    """Check that the target isn't inside the data or the masks, or around them."""
    place = out.resolve()
    for what, folder in (("masks", source.folder), ("data", source.data)):
        if folder is None:
            continue
        other = folder.resolve()
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise RunFolderError(
                f"--out is inside or around the folder of the {what}, {folder}",
                where=out,
                fix="Give another folder.",
            )


def _check_target(out: Path, overwrite: bool) -> None:
    """Check that nothing is lost where the export is put."""
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() and not any(out.iterdir()):
        return
    earlier = out.is_dir() and not out.is_symlink() and (out / RECORD).is_file()
    if not earlier:
        raise RunFolderError(
            "this exists and is no earlier export", where=out, fix="Give another --out."
        )
    if not overwrite:
        raise RunFolderError(
            "this holds an earlier export",
            where=out,
            fix="Give --overwrite to replace it, or another --out.",
        )
