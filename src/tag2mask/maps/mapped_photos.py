"""Photos of the prepared data that have maps: their map files, and masks that must fit them.

The steps after ``infer-cam`` read a folder of maps. It may hold one split only, lack photos that
were skipped, or have been made by other software. `mapped_photos` checks that maps and data fit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import AnyMaps, Handle, PreparedData
from tag2mask.artifacts.items import SkippedItems
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.data.photos import read_sample_mask
from tag2mask.data.splits import SPLITS, Split
from tag2mask.errors import DataError, first_few
from tag2mask.files.stamps import file_stamp
from tag2mask.maps.cam_map import CamMap, map_path, read_map


@dataclass(frozen=True)
class PreparedPhotos:
    """Photos of the prepared data whose masks are to be read.

    Attributes:
        splits: the samples of each split, in the order of the index.
        skipped: photos that an earlier step skipped, each as ``id: reason``.
        folder: folder that the photos are found by, for messages.
        classes: C, the number of foreground classes.
    """

    splits: dict[Split, list[Sample]]
    skipped: tuple[str, ...]
    folder: Path
    classes: int

    @property
    def samples(self) -> list[Sample]:
        """The samples of all splits; no photo is in two, as ``prepare`` checks."""
        return [sample for samples in self.splits.values() for sample in samples]

    def without(self, ids: Collection[str]) -> Self:
        """Return a copy without some photos, and without splits that become empty.

        Raises:
            DataError: no photo is left.
        """
        kept = {
            split: [sample for sample in samples if sample.id not in ids]
            for split, samples in self.splits.items()
        }
        if not any(kept.values()):
            raise all_left_out(self.folder)
        return replace(self, splits={split: left for split, left in kept.items() if left})

    def read_mask(self, path: Path, sample: Sample) -> NDArray[np.uint8]:
        """Read a photo's mask with `read_sample_mask`, for the classes of the data."""
        return read_sample_mask(sample, path, self.classes)


@dataclass(frozen=True)
class MappedPhotos(PreparedPhotos):
    """Photos with maps.

    Attributes:
        splits: those that have maps.
        folder: of the step that made the maps.
        made_by: name of the step that made the maps.
        tag_source: which classes have maps: ``known``, ``known or predicted``, ``predicted``.
    """

    made_by: str
    tag_source: str

    def path(self, photo_id: str) -> Path:
        """Return the path of a photo's map file."""
        return map_path(self.folder, photo_id)

    def stamp(self, photo_id: str) -> str:
        """Return ``<bytes>-<mtime_ns>`` of a photo's map file, which changes with the file."""
        return file_stamp(self.path(photo_id).stat())

    def read(self, sample: Sample) -> CamMap:
        """Read the maps of a photo.

        Raises:
            DataError: the file is damaged, or of another photo, other tags or other classes.
        """
        path = self.path(sample.id)
        try:
            cam_map = read_map(path)
        except DataError as error:  # which doesn't know what step made the map
            raise DataError(
                error.what,
                where=error.where,
                fix=f"Delete the file and run {self.made_by} again: it computes only what is "
                "missing.",
            ) from None
        fix = f"Run {self.made_by} on this data, or give the maps that belong to it."
        if cam_map.id != sample.id:
            raise DataError(
                f"map is of photo {cam_map.id!r}, not of {sample.id!r}", where=path, fix=fix
            )
        if cam_map.size != sample.size:
            (h, w), (photo_h, photo_w) = cam_map.size, sample.size
            raise DataError(
                f"map is of a photo of {w} x {h} px, but {sample.id!r} has {photo_w} x {photo_h}",
                where=path,
                fix=fix,
            )
        if len(cam_map.probabilities) != self.classes:
            raise DataError(
                f"map is of {len(cam_map.probabilities)} classes, the data has {self.classes}",
                where=path,
                fix=fix,
            )
        tags_known = self.tag_source == "known" or (self.tag_source != "predicted" and sample.tags)
        if tags_known and cam_map.tags != sample.tags:
            raise DataError(
                f"map of {sample.id!r} is of other tags than the data has", where=path, fix=fix
            )
        return cam_map


def all_left_out(where: Path) -> DataError:
    """Return the error for an evaluation that leaves out every photo."""
    return DataError(
        "every photo that could be scored is to be left out", where=where, fix="Leave out fewer."
    )


def prepared_photos(data: PreparedData, skipped: Collection[str] = ()) -> PreparedPhotos:
    """Return the photos of the data, but for those that an earlier step skipped.

    Args:
        data: the prepared data.
        skipped: the skipped photos, each as ``id: reason``.
    """
    found = {split: read_index(data.path, split) for split in SPLITS}
    lost = SkippedItems(tuple(skipped))
    splits = {split: [s for s in samples if s.id not in lost] for split, samples in found.items()}
    return PreparedPhotos(
        {split: samples for split, samples in splits.items() if samples},
        tuple(skipped),
        data.path,
        len(read_classes(data.path)),
    )


def mapped_photos(data: PreparedData, maps: AnyMaps) -> MappedPhotos:
    """Find the photos that have maps.

    A split without any map is left out. In every other split, each photo without a map must be
    listed as skipped by the step that made the maps.

    Raises:
        DataError: a photo's map is missing, there are no maps, or they are of other classes.
        RunFolderError: the prepared index or the maps' manifest is damaged.
    """
    left_out = maps.manifest.skipped
    skipped = SkippedItems(left_out)
    names = read_classes(data.path).names
    check_classes(maps, names, "maps")
    splits: dict[Split, list[Sample]] = {}
    for split in SPLITS:
        samples = read_index(data.path, split)
        found = [s for s in samples if map_path(maps.path, s.id).is_file()]
        if not found:
            continue
        present = {sample.id for sample in found}
        for sample in samples:
            if sample.id not in present and sample.id not in skipped:
                raise DataError(
                    f"photo {sample.id!r} has no map",
                    where=maps.path,
                    fix=f"Run {maps.step} again: it computes only what is missing.",
                )
        splits[split] = found
    if not splits:
        raise DataError(
            "no photo of the data has a map",
            where=maps.path,
            fix=f"Run {maps.step} on this data, or give the maps that belong to it.",
        )
    return MappedPhotos(splits, left_out, maps.path, len(names), maps.step, tag_source(maps))


def map_shows_tags(path: Path, threshold: float) -> bool | None:
    """Return whether any class of a photo's map exceeds a threshold; None: no class has a map.

    Raises:
        DataError: the map is missing or damaged.
    """
    cam_map = read_map(path)
    return bool((cam_map.scores > np.float32(threshold)).any()) if cam_map.tags else None


def tag_source(maps: AnyMaps) -> str:
    """Return which classes have maps: ``known``, ``known or predicted`` or ``predicted``."""
    return str(maps.manifest.metrics.get("tags", "known"))


def check_classes(made: Handle, names: tuple[str, ...], what: str) -> None:
    """Check that a folder was made for the classes of the data.

    Args:
        made: the folder; accepted if its manifest has no class names.
        names: class names of the data.
        what: what the folder holds, for the message.

    Raises:
        DataError: other names, or another order.
    """
    known = tuple(made.manifest.metrics.get("classes", names))
    if known != names:
        raise DataError(
            f"the {what} are of the classes {first_few(known)}, the data has {first_few(names)}",
            where=made.path,
            fix=f"Run {made.step} on this data, or give the {what} that belong to it.",
        )
