"""Layout ``voc``: PASCAL VOC, and folders laid out like it.

Recognized by a folder ``JPEGImages`` next to ``ImageSets``::

    VOCdevkit/VOC2012/            (or the folder above, or any folder of the same form)
        ImageSets/Segmentation/train.txt, val.txt, ...    split lists
        JPEGImages/<id>.jpg
        Annotations/<id>.xml, or tags.csv, or cls_labels.npy
        SegmentationClass/<id>.png, SegmentationClassAug/<id>.png    masks, optional
        classes.txt               optional: one class name per line, background first or left out
        labelmap.txt              CVAT's classes and colors, where there is no classes.txt

Any text file of ids may be the split list, also psa's lists of two columns; a mask named there is
preferred. Without the list ``train``, CVAT's ``default`` has the training photos. See `voc_tags`
for where the tags come from. Without a list, the classes are VOC's; where none of the names found
is VOC's and there are no masks, they are the names found.
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.classes import VOC_NAMES
from tag2mask.data.inventory import DataProblem, Inventory, InventoryEntry, SourceOptions
from tag2mask.data.layouts.ids import without_suffix
from tag2mask.data.layouts.listing import (
    CLASS_LIST,
    FoundFile,
    inventory_entry,
    list_images,
    read_class_list,
)
from tag2mask.data.layouts.photo_lookup import PhotoLookup, ambiguous_photo
from tag2mask.data.layouts.splits import ListedPhoto, find_list, read_id_list
from tag2mask.data.layouts.voc.label_map_masks import LabelMapDrawer
from tag2mask.data.layouts.voc.tags import PHOTO_FOLDER, find_voc_tags
from tag2mask.data.splits import SPLITS, Split
from tag2mask.errors import DataError, counted, first_few, nearest_hint
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.voc.label_map import LABEL_MAP, read_label_map

_MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug")
_NO_SPLIT = "default"
"""CVAT's list of the photos that have no split."""
_LIST_FOLDERS = ("ImageSets/Segmentation", "ImageSets/Main", "ImageSets")


def is_voc(folder: Path) -> bool:
    """Return whether a folder is laid out like VOC."""
    return _voc_root(folder) is not None


def read_voc(folder: Path, options: SourceOptions) -> Inventory:
    """Read a folder laid out like VOC (see the module's docstring).

    Raises:
        DataError: no such layout, a split list that doesn't exist, or no tags at all.
    """
    root = _voc_root(folder)
    if root is None:
        raise DataError(
            "not laid out like VOC: no JPEGImages next to ImageSets",
            where=folder,
            fix="Give the folder that contains VOC2012, or --source (voc-xml for XML alone).",
        )
    classes, class_list = _read_classes(root)
    names = classes or VOC_NAMES
    drawer = _label_map_drawer(root) if class_list == LABEL_MAP else None
    map_stamp = files_stamp([root / LABEL_MAP])
    problems: list[DataProblem] = []
    tags = find_voc_tags(root, options, names, problems)
    files = list_images(root, PHOTO_FOLDER)
    photos = PhotoLookup(root, files)
    masks = _VocMasks(root)
    entries: list[InventoryEntry] = []
    listed_by_split = _listed_photos(root, options, problems)
    for split, listed in listed_by_split.items():
        for photo in listed:
            id = photo.id.removeprefix(f"{PHOTO_FOLDER}/")
            file = _find_photo(photos, id, photo.where, problems)
            own = tags.tags_of(id, photo.where, problems) if file else ()
            mask = masks.find(id, photo)
            if mask is not None and drawer is not None:
                drawer.add(id, root / mask.path)
                entry = inventory_entry(id, split, own, file, None, photo.where)
                entries.append(entry._replace(mask_stamp=f"{mask.stamp}-{map_stamp}"))
            else:
                entries.append(inventory_entry(id, split, own, file, mask, photo.where))
    problems += masks.problems()
    known = {without_suffix(file.path).removeprefix(f"{PHOTO_FOLDER}/") for file in files}
    problems += tags.missing_photos(known | {entry.id for entry in entries})
    found = {tag for entry in entries for tag in entry.tags}
    # With masks, the order of the names matters, so that a list must give it.
    own_names = (
        classes is None
        and bool(found)
        and found.isdisjoint(VOC_NAMES)
        and not any(entry.mask for entry in entries)
    )
    return Inventory(
        "voc",
        root,
        tuple(sorted(found)) if own_names else names,
        tuple(entries),
        tuple(problems),
        tuple(listed_by_split),
        mask_drawer=drawer,
        tag_source=tags.name,
        class_list=class_list,
        names_from_tags=own_names,
        remarks=photos.remarks,
    )


def _read_classes(root: Path) -> tuple[tuple[str, ...] | None, str]:
    """Return the listed classes, and the file: ``classes.txt``, or CVAT's label map.

    Raises:
        DataError: the file can't be read or lists no class.
    """
    classes = read_class_list(root)
    if classes is not None:
        return classes, CLASS_LIST
    if not (root / LABEL_MAP).is_file():
        return None, ""
    classes = read_label_map(root / LABEL_MAP).classes
    if not classes:
        raise DataError(
            f"{LABEL_MAP} names no class", where=root, fix=f"List the classes in {CLASS_LIST}."
        )
    return classes, LABEL_MAP


def _label_map_drawer(root: Path) -> LabelMapDrawer | None:
    """Return the reader of masks by CVAT's label map; None: their values are those of classes."""
    labels = read_label_map(root / LABEL_MAP)
    by_values = labels.colors is None and labels.values_are_sure
    return None if by_values else LabelMapDrawer(labels)


def _voc_root(folder: Path) -> Path | None:
    """Return the folder with ``JPEGImages``, the latest of several years; None: there is none."""
    years = [
        p
        for parent in (folder, folder / "VOCdevkit")
        if parent.is_dir()
        for p in sorted(parent.glob("VOC[0-9][0-9][0-9][0-9]"), reverse=True)
    ]
    for candidate in (folder, *years):
        if (candidate / PHOTO_FOLDER).is_dir() and (candidate / "ImageSets").is_dir():
            return candidate.resolve()
    return None


def _find_photo(
    photos: PhotoLookup, id: str, where: str, problems: list[DataProblem]
) -> FoundFile | None:
    """Return the photo of an id; append a problem where there is none or more than one."""
    folders = (f"{PHOTO_FOLDER}/",)
    found = photos.find(id, folders, is_path=False)
    if not found:
        problems.append(photos.missing(id, f"{id}.jpg", folders, where))
        return None
    if len(found) > 1:
        problems.append(ambiguous_photo(id, found, where, "keep one"))
    return found[0]


def _listed_photos(
    root: Path, options: SourceOptions, problems: list[DataProblem]
) -> dict[Split, list[ListedPhoto]]:
    """Return the photos of the requested splits; only the list ``val`` may be missing.

    Raises:
        DataError: another split list doesn't exist.
    """
    listed: dict[Split, list[ListedPhoto]] = {}
    for split, name in zip(SPLITS, (options.train_split, options.val_split), strict=True):
        if name is None:
            continue
        path = find_list(root, name) or _split_list(root, name)
        if path is None and name == SourceOptions.train_split:
            path = _split_list(root, _NO_SPLIT)
        if path is None and split == "val" and name == SourceOptions.val_split:
            continue
        if path is None:
            known = sorted(
                {p.stem for lists in _LIST_FOLDERS for p in (root / lists).glob("*.txt")}
            )
            raise DataError(
                f"no split list {name!r}{nearest_hint(name, known)}",
                where=root / _LIST_FOLDERS[0],
                fix=f"Known: {first_few(known, 12)}; or give a text file of ids."
                if known
                else f"There is none in ImageSets: write {name}.txt there, one "
                "id per line, or give a text file of ids.",
            )
        listed[split], found = read_id_list(path)
        problems += found
    return listed


def _split_list(root: Path, name: str) -> Path | None:
    """Return VOC's list of a split, or None."""
    paths = (root / lists / f"{name}.txt" for lists in _LIST_FOLDERS)
    return next(filter(Path.is_file, paths), None)


class _VocMasks:
    """The masks of a VOC folder: a list's own, else the official one, else the augmented one."""

    def __init__(self, root: Path) -> None:
        self._files = {
            file.path: file for folder in _MASK_FOLDERS for file in list_images(root, folder)
        }
        self._missing: list[str] = []

    def find(self, id: str, photo: ListedPhoto) -> FoundFile | None:
        """Return a photo's mask, or None."""
        usual = [f"{folder}/{id}.png" for folder in _MASK_FOLDERS]
        if photo.mask is not None and photo.mask not in self._files:
            self._missing.append(photo.mask)
        for path in ([photo.mask] if photo.mask is not None else []) + usual:
            if path in self._files:
                return self._files[path]
        return None

    def problems(self) -> list[DataProblem]:
        """Return one warning for all masks that lists name but that don't exist.

        This is not an error: psa's lists name masks that training doesn't need.
        """
        if not self._missing:
            return []
        message = f"{counted(len(self._missing), 'mask', 'masks')} named in the lists not found"
        return [DataProblem(f"{message}: {first_few(self._missing)}", warning=True)]
