"""MVTec AD, which anomalib reads too: photos without a defect, and defects with masks.

::

    train/good/000.png                    photos for training show no defect
    test/good/000.png, test/crack/000.png
    ground_truth/crack/000_mask.png       255 where the defect is (or 000.png)

Format: https://www.mvtec.com/company/research/datasets/mvtec-ad
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tag2mask.errors import DataError
from tag2mask.formats.annotations import AnnotatedPhoto, Region
from tag2mask.formats.binary import read_pixels
from tag2mask.formats.each_photo import each_photo
from tag2mask.formats.photo_names import (
    PHOTO_SUFFIXES,
    files_below,
    inner_folders,
    stem_path,
)
from tag2mask.formats.pixels.gray_masks import MASK_SUFFIXES

_TRAIN, _TEST, TRUTH = "train", "test", "ground_truth"
_NO_DEFECT = frozenset({"good", "normal", "ok"})
"""Folders of photos without a defect."""
_MASK_END = "_mask"


class _Photo(NamedTuple):
    path: str
    """Relative to the data set's folder."""
    split: str
    defect: str | None
    mask: Path | None


def is_mvtec(path: Path) -> bool:
    """Return whether a folder has photos without a defect in ``train/``, and defects in ``test/``.

    Of the folders in ``train/`` all must be known not to be defects, or there is ``ground_truth/``.
    """
    train, test = (inner_folders(path / name) for name in (_TRAIN, _TEST))
    if not _NO_DEFECT & {name.lower() for name in train}:
        return False
    no_defects = all(name.lower() in _NO_DEFECT for name in train)
    shows_defects = any(name.lower() not in _NO_DEFECT for name in test)
    return shows_defects and (no_defects or (path / TRUTH).is_dir())


def read_mvtec(path: Path) -> Iterator[AnnotatedPhoto]:
    """Yield the photos of ``train/`` and ``test/``, with a tag and a mask where there is a defect.

    Masks are decoded when asked for; a defect without a mask has no region.

    Raises:
        DataError: no such folders.
    """
    photos = [photo for split in (_TRAIN, _TEST) for photo in _photos(path, split)]
    if not photos:
        raise DataError(
            "no photos in train/ and test/, as MVTec AD has them",
            where=path,
            fix="Give the folder that contains train/, test/ and ground_truth/.",
        )
    return each_photo(photos, _annotated, path)


def _annotated(photo: _Photo) -> AnnotatedPhoto:
    if photo.defect is None:
        return AnnotatedPhoto(photo.path, None, photo.split, (), ())
    regions: tuple[Region, ...] = ()
    if photo.mask is not None:
        regions = (Region(photo.defect, None, "mask", partial(read_pixels, photo.mask)),)
    return AnnotatedPhoto(photo.path, None, photo.split, (photo.defect,), regions)


def _photos(root: Path, split: str) -> Iterator[_Photo]:
    for name in inner_folders(root / split):
        truth = root / TRUTH / name
        masks = {stem_path(relative): relative for relative in files_below(truth, MASK_SUFFIXES)}
        for relative in files_below(root / split / name, PHOTO_SUFFIXES):
            stem = stem_path(relative)
            mask = masks.get(f"{stem}{_MASK_END}", masks.get(stem))
            defect = None if name.lower() in _NO_DEFECT else name
            found = truth / mask if mask is not None and defect is not None else None
            yield _Photo(f"{split}/{name}/{relative}", split, defect, found)
