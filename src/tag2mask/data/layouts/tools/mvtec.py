"""Layout ``mvtec``: MVTec AD and what anomalib reads; tags are the kinds of defects.

::

    DIR/train/good/000.png
    DIR/test/good/000.png, DIR/test/crack/000.png
    DIR/ground_truth/crack/000_mask.png            optional: masks for evaluation

Photos for training show no defect there, so nothing could be learned from them alone: unless
``train/`` has defects, or splits are chosen, all photos count, and half of each kind of defect is
drawn for validation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.tools.annotated import AnnotatedSource, read_annotated
from tag2mask.files.stamps import files_stamp
from tag2mask.formats.mvtec import TRUTH, read_mvtec
from tag2mask.formats.photo_names import files_below
from tag2mask.formats.pixels.gray_masks import MASK_SUFFIXES

_DRAWN = 0.5
"""Share of the photos that is drawn for validation."""


def read_mvtec_folder(folder: Path, options: SourceOptions) -> Inventory:
    """Read a data folder laid out like MVTec AD (see the module's docstring).

    Raises:
        DataError: no photos in ``train/`` and ``test/``.
    """
    root = folder.resolve()
    photos = list(read_mvtec(root))
    defects_in_training = any(photo.split == "train" and photo.tags for photo in photos)
    chosen = (options.train_split, options.val_split) not in (("train", "val"), ("train", None))
    draw = not (defects_in_training or chosen)
    if draw:
        photos = [replace(photo, split=None) for photo in photos]
    truth = files_below(root / TRUTH, MASK_SUFFIXES)
    source = AnnotatedSource(
        "mvtec",
        "the folders of train/ and test/",
        photos,
        files_stamp(root / TRUTH / name for name in truth),
        not_photos=(TRUTH,),
        photo_folder="",
        remarks=("train/ has no defects: the photos of train/ and test/ count as one set",)
        if draw
        else (),
    )
    found = read_annotated(root, source, options)
    return replace(found, val_fraction=_DRAWN) if draw else found
