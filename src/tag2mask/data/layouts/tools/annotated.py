"""An inventory from what another tool's files say of each photo.

The readers in `formats` yield `AnnotatedPhoto`; here their addresses are matched with the photos of
the data folder, image-level labels and the labels of regions become tags, and regions with pixels
become masks for evaluation. A photo has a mask where all its regions have pixels and where each of
its image-level labels has a region.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.classes import BACKGROUND, IGNORE, mask_id, name_kind
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.addresses import AddressedPhotos, address_paths
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.listing import CLASS_LIST, FoundFile, list_images, read_class_list
from tag2mask.data.layouts.splits import SplitRule
from tag2mask.errors import DataError, counted, first_few
from tag2mask.formats.annotations import AnnotatedPhoto, Region, ShownLabels


@dataclass(frozen=True)
class AnnotatedSource:
    """The files of another tool in a data folder.

    Attributes:
        layout: name of the layout.
        name: the files, for messages.
        photos: what they say of each photo.
        stamp: a text that changes when any file does that masks are drawn from (`files_stamp`).
        classes: the names that the files list, in the order of their ids; None: they list none.
        not_photos: folders and files (relative) that are not photos.
        photo_folder: is left out at the beginning of ids.
        remarks: how the files were understood (see `Inventory.remarks`).
        tags_from_regions: labels of regions are tags, too; else regions are for evaluation only.
    """

    layout: str
    name: str
    photos: Iterable[AnnotatedPhoto]
    stamp: str
    classes: Sequence[str] | None = None
    not_photos: Collection[str] = ()
    photo_folder: str = "images/"
    remarks: tuple[str, ...] = ()
    tags_from_regions: bool = True


@dataclass
class _Found:
    """A local photo, and all that the files say of it."""

    file: FoundFile | None
    """None: the photo is missing."""
    address: str
    size: tuple[int, int] | None
    split: str
    tags: list[str] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)

    def labels(self, source: AnnotatedSource) -> tuple[str, ...]:
        """Return the photo's tags, each once."""
        regions = self.regions if source.tags_from_regions else []
        return tuple(dict.fromkeys([*self.tags, *(region.label for region in regions)]))

    @property
    def has_mask(self) -> bool:
        """Whether the regions show every label."""
        return ShownLabels().plus(self.tags, self.regions).has_mask


def read_annotated(root: Path, source: AnnotatedSource, options: SourceOptions) -> Inventory:
    """Return the inventory of a data folder that another tool's files describe.

    Args:
        root: the data folder, resolved.
        source: the files.
        options: the requested splits.

    Raises:
        DataError: the files or a list of ids can't be read.
    """
    rule = SplitRule(root, options)
    problems: list[DataProblem] = []
    listed_files = list_images(root, skip=source.not_photos)
    files = {file.path: file for file in listed_files if file.path not in source.not_photos}
    found = _match(source, files, problems)
    known = read_class_list(root)
    listed = known or _classes(source.classes or ())
    labels = {label for photo in found.values() for label in photo.labels(source)}
    names = listed or tuple(sorted(label for label in labels if name_kind(label) == "class"))
    drawer = RegionMaskDrawer(source.name, names)
    has_masks = any(r.mask is not None for photo in found.values() for r in photo.regions)
    entries: list[InventoryEntry] = []
    for id, photo in found.items():
        split = rule.split_of(id, photo.split)
        if split is None:
            continue
        has_mask = has_masks and photo.has_mask
        if has_mask:
            drawer.add(id, photo.size, photo.regions)
        entries.append(
            InventoryEntry(
                id=id,
                split=split,
                tags=photo.labels(source),
                image=photo.file.path if photo.file else None,
                stamp=photo.file.stamp if photo.file else "",
                mask_stamp=f"{source.layout}-{source.stamp}" if has_mask else "",
                where=source.name,
            )
        )
    problems += rule.problems(found)
    problems += _unused_photos(source.name, files, found)
    return Inventory(
        source.layout,
        root,
        names,
        tuple(entries),
        tuple(problems),
        tuple(sorted({photo.split or "train" for photo in found.values()})),
        mask_drawer=drawer,
        tag_source=source.name,
        class_list=CLASS_LIST if known else source.name if listed else "",
        names_from_tags=not listed,
        remarks=source.remarks,
    )


def _classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the listed names that are classes."""
    return tuple(name for name in names if name_kind(name) in ("class", "nothing"))


def _match(
    source: AnnotatedSource, files: Mapping[str, FoundFile], problems: list[DataProblem]
) -> dict[str, _Found]:
    """Return the photos that the files name by id; append the problems of those without a match."""
    local = AddressedPhotos(files)
    found: dict[str, _Found] = {}
    for photo in source.photos:
        paths = local.find(photo.file_name)
        if len(paths) > 1:
            problems.append(_ambiguous(source.name, photo.file_name, paths))
            continue
        written = paths[0] if paths else (*address_paths(photo.file_name), "?")[0]
        id = without_suffix(written).removeprefix(source.photo_folder)
        if not paths and id not in found:
            problems.append(_missing(source.name, photo.file_name, id))
        file = files[paths[0]] if paths else None
        own = found.setdefault(
            id, _Found(file, photo.file_name, photo.size, (photo.split or "").strip())
        )
        problem = _conflict(source.name, own, photo, file)
        if problem:
            problems.append(problem)
            continue
        own.tags += photo.tags
        own.regions += photo.regions
    return found


def _conflict(
    name: str, own: _Found, photo: AnnotatedPhoto, file: FoundFile | None
) -> DataProblem | None:
    """Return why a further item can't be of a photo that an earlier item is of."""
    if own.file != file:
        paths = [found.path for found in (own.file, file) if found is not None]
        return DataProblem(
            f"{name}: {first_few(paths)} would have one id; rename one of the photos"
        )
    if own.split != (photo.split or "").strip():
        return DataProblem(
            f"{name}: photo {photo.file_name!r} is in the splits {own.split!r} and "
            f"{photo.split!r}; remove it from one"
        )
    if {*address_paths(own.address)}.isdisjoint(address_paths(photo.file_name)):
        return DataProblem(
            f"{name}: {own.address!r} and {photo.file_name!r} would be one photo"
            f"{f' ({file.path})' if file else ''}; put both into the folders that {name} names, or "
            "remove one of the two"
        )
    return None


def _missing(name: str, address: str, id: str) -> DataProblem:
    return DataProblem(
        f"photo {address!r} of {name} is not in the data folder; put it there, or remove it from "
        f"{name}",
        photo=id,
    )


def _ambiguous(name: str, address: str, paths: Sequence[str]) -> DataProblem:
    return DataProblem(
        f"photo {address!r} of {name} may be any of {first_few(paths)}; put them into the folders "
        f"that {name} names, or keep one"
    )


def _unused_photos(
    name: str, files: Mapping[str, FoundFile], found: Mapping[str, _Found]
) -> list[DataProblem]:
    """Return a warning where the files don't name photos of the data folder."""
    used = {photo.file.path for photo in found.values() if photo.file}
    unused = [path for path in files if path not in used]
    if not unused:
        return []
    count = counted(len(unused), "photo is", "photos are")
    return [DataProblem(f"{count} not in {name} and not used: {first_few(unused)}", warning=True)]


class RegionMaskDrawer:
    """Draws masks from regions, small ones over large ones (a `MaskDrawer`).

    Args:
        source: the files of the regions, for messages.
        names: the classes in the order of their tag ids.
    """

    def __init__(self, source: str, names: Sequence[str]) -> None:
        self._source = source
        self._values = {name: mask_id(tag) for tag, name in enumerate(names)}
        self._photos: dict[str, tuple[tuple[int, int] | None, Sequence[Region]]] = {}

    def add(self, id: str, size: tuple[int, int] | None, regions: Sequence[Region]) -> None:
        """Add a photo: its (width, height) as the files have it, and its regions."""
        self._photos[id] = size, regions

    def misfit(self, id: str, size: tuple[int, int]) -> str:
        """Return why the regions can't be those of a photo of ``size`` (h, w); empty: they may."""
        written, _ = self._photos[id]
        if written is None or written == size[::-1]:
            return ""
        return (
            f"photo {id!r} has a different size: {written[0]}x{written[1]} in {self._source}, "
            f"{size[1]}x{size[0]} px in its file"
        )

    def draw(self, id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw the mask of a photo.

        Args:
            id: the photo.
            size: its (h, w) in px.

        Returns:
            uint8 (h, w): 0 background, 1..C classes, 255 where a region is to be ignored.

        Raises:
            DataError: a region is damaged, of another size, or of an unknown class.
        """
        mask = np.zeros(size, np.uint8)
        areas = np.full(
            size, np.iinfo(np.int32).max, np.int32
        )  # of the region that each pixel shows
        for region in self._photos[id][1]:
            assert region.mask is not None, id
            pixels = region.mask()
            if pixels.shape != size:
                raise DataError(
                    f"a region of photo {id!r} ({region.label}) has a different size: "
                    f"{pixels.shape[1]}x{pixels.shape[0]}, photo {size[1]}x{size[0]} px",
                    where=self._source,
                    fix="Correct the annotations, or replace the photo.",
                )
            value = self._value(region.label, id)
            area = int(pixels.sum()) if value != IGNORE else pixels.size + 1
            pixels = pixels & (areas >= area)
            mask[pixels], areas[pixels] = value, area
        return mask

    def _value(self, label: str, id: str) -> int:
        if label in self._values:
            return self._values[label]
        kind = name_kind(label)
        if kind == "class":
            raise DataError(
                f"a region of photo {id!r} is of the unknown class {label!r}",
                where=self._source,
                fix="List the class, or correct the annotation.",
            )
        return BACKGROUND if kind == "background" else IGNORE
